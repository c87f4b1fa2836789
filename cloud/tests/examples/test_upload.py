# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_cloud.errors import BadRequest
from helmet_cloud.examples.jpeg import MAX_PROGRESSIVE_PIXELS, check_jpeg, jpeg_size
from helmet_cloud.examples.upload import MAX_RECORD_BYTES, MAX_TEXT, parse_record, parse_upload

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()


def line(make_record: Callable[..., Any], **changes: Any) -> bytes:
    return json.dumps({**make_record(SMALL).to_json(), **changes}).encode()


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """The same picture with another size in its header."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + height.to_bytes(2) + width.to_bytes(2) + jpeg[at + 9 :]


def test_what_is_right_comes_through_unchanged(
    make_record: Callable[..., Any], make_body: Callable[..., bytes]
) -> None:
    record = make_record(SMALL, source="Tor Süd 🚧 北門")
    upload = parse_upload(record.sha256, make_body(SMALL, record))
    assert upload.record == record
    assert bytes(upload.jpeg) == SMALL


@pytest.mark.parametrize("width", [1, 7, 8, 9, 63, 64, 65])
def test_every_size_is_checked_to_the_pixel(width: int) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((5, width, 3), np.uint8))[1].tobytes()
    check_jpeg(jpeg, width, 5)
    with pytest.raises(BadRequest, match=f"is {width}x5 pixels, its record says {width + 1}x5"):
        check_jpeg(jpeg, width + 1, 5)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(SMALL) - 1))
def test_a_picture_cut_off_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(BadRequest):
        check_jpeg(SMALL[:cut], 64, 48)


def test_a_picture_with_something_behind_it_is_refused() -> None:
    with pytest.raises(BadRequest, match="does not end as a JPEG does"):
        check_jpeg(SMALL + b"PK hidden", 64, 48)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: SMALL[:60] + tail))
def test_anything_else_is_refused_and_never_a_crash(content: bytes) -> None:
    with pytest.raises(BadRequest):
        check_jpeg(content, 64, 48)


def test_other_formats_are_refused() -> None:
    for ending in (".png", ".bmp", ".webp"):
        with pytest.raises(BadRequest, match="no JPEG picture"):
            check_jpeg(cv2.imencode(ending, np.zeros((48, 64, 3), np.uint8))[1].tobytes(), 64, 48)


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(BadRequest, match="at most 33554432 pixels"):
        check_jpeg(with_size(SMALL, 65500, 65500), 65500, 65500)
    progressive = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    check_jpeg(progressive, 64, 48)
    at = progressive.index(b"\xff\xc2")
    side = int(MAX_PROGRESSIVE_PIXELS**0.5) + 1
    huge = progressive[: at + 5] + side.to_bytes(2) * 2 + progressive[at + 9 :]
    with pytest.raises(BadRequest, match="a progressive picture of 2049x2049"):
        check_jpeg(huge, side, side)


def test_a_turned_picture_is_refused() -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + jpeg[2:]
    assert jpeg_size(memoryview(turned)) == ((64, 48), False)
    with pytest.raises(BadRequest, match="EXIF orientation"):
        check_jpeg(turned, 64, 48)


def test_a_picture_of_another_digest_is_refused(
    make_record: Callable[..., Any], make_body: Callable[..., bytes]
) -> None:
    record = make_record(SMALL)
    with pytest.raises(BadRequest, match="changed or cut off on its way"):
        parse_upload(record.sha256, make_body(SMALL + b"x", record))
    with pytest.raises(BadRequest, match="the path says"):
        parse_upload(hashlib.sha256(b"").hexdigest(), make_body(SMALL, record))


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "0" * 64 + "/..", "\0"])
def test_a_path_that_is_no_digest_is_refused(name: str, make_body: Callable[..., bytes]) -> None:
    with pytest.raises(BadRequest, match="64 lower-case hexadecimal digits"):
        parse_upload(name, make_body(SMALL))


@pytest.mark.parametrize("body", [b"", b"\n", b"{}\n" + SMALL, SMALL, b"x" * (MAX_RECORD_BYTES + 2) + b"\n"])
def test_a_body_without_a_record_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="record"):
        parse_upload("0" * 64, body)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"node": "../edge"}, "node: expected letters"),
        ({"node": "edge\n"}, "node: expected letters"),
        ({"node": "x" * 200}, "node: expected letters"),
        ({"source": "a\u0000b"}, "source: control characters"),
        ({"source": "a\ud800b"}, "source: control characters and lone surrogates"),
        ({"source": "x" * (MAX_TEXT + 1)}, "source: longer than"),
        ({"rule": "\x1b[2J"}, "rule: control characters"),
        ({"detections": [{"label": "\ud800", "score": 0.5, "box": [0, 0, 1, 1]}]}, r"detections\[0\].label"),
        ({"value": float("nan")}, "value: expected a number"),
        ({"time_seconds": float("inf")}, "time_seconds: expected"),
        ({"frame": True}, "frame: expected a whole number"),
        ({"width": 0}, "width: expected"),
        ({"extra": 1}, "extra: unknown field"),
        ({"schema": 2}, "schema"),
    ],
)
def test_a_record_that_cannot_be_right_is_refused(
    changes: dict[str, Any], reason: str, make_record: Callable[..., Any]
) -> None:
    with pytest.raises(BadRequest, match=reason):
        parse_record(line(make_record, **changes))


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}", b"\xff\xfe", b"nul", b"[]", b"1"])
def test_nonsense_instead_of_a_record_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest, match="record: "):
        parse_record(text)


@settings(max_examples=100, deadline=None)
@given(
    document=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        max_leaves=10,
    )
)
def test_any_json_is_refused_in_words(document: Any) -> None:
    with pytest.raises(BadRequest, match=r"^record: "):
        parse_record(json.dumps(document).encode())
