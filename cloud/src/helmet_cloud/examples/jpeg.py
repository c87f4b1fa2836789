# SPDX-License-Identifier: Apache-2.0
"""Whether some bytes are a JPEG picture of a certain size, found out without ever holding all of its pixels."""

from __future__ import annotations

import cv2
import numpy as np

from helmet_cloud.errors import BadRequest

MAX_PIXELS = 1 << 25
"""Larger pictures are refused before they are decoded: 7680x4320 fits."""
MAX_PROGRESSIVE_PIXELS = 1 << 22
"""A progressive picture has to be held whole as coefficients, 6 bytes a pixel, however small it is decoded."""

_START, _END = b"\xff\xd8", b"\xff\xd9"
_BASELINE, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start-of-frame markers; those three mean something else
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_FILL, _SCAN, _HEAD_BYTES = 0xFF, 0xDA, 7
_REDUCED = 8  # the decoder's smallest scale: an eighth of each side, one coefficient a block


def check_jpeg(content: bytes | memoryview, width: int, height: int) -> None:
    """Decodes a picture at an eighth of its size, which reads every byte of it but makes 1/64 of its pixels.

    Args:
        content: the file.
        width: in pixels, as its record says.
        height: as above.

    Raises:
        BadRequest: no JPEG, cut off, of another size than said, or larger than is taken.
    """
    view = memoryview(content)
    found, progressive = jpeg_size(view)
    if found != (width, height):
        raise BadRequest(f"the picture is {found[0]}x{found[1]} pixels, its record says {width}x{height}")
    most = MAX_PROGRESSIVE_PIXELS if progressive else MAX_PIXELS
    if width * height > most:
        kind = "progressive picture" if progressive else "picture"
        raise BadRequest(f"a {kind} of {width}x{height} pixels; at most {most} pixels are taken")
    if view[-2:] != _END:
        raise BadRequest("the picture is cut off: it does not end as a JPEG does")
    try:
        small = cv2.imdecode(np.frombuffer(view, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:
        small = None
    if small is None:
        raise BadRequest("the picture cannot be decoded")
    if small.shape != (-(-height // _REDUCED), -(-width // _REDUCED)):
        raise BadRequest("the picture is turned by its EXIF orientation: turn its pixels instead")


def jpeg_size(content: memoryview) -> tuple[tuple[int, int], bool]:
    """Width and height in pixels from a JPEG's header, and whether it is progressive (ITU-T T.81, annex B).

    Raises:
        BadRequest: it is no JPEG, or of a kind that cameras do not make (lossless, arithmetic, hierarchical).
    """
    if content[:2] != _START:
        raise BadRequest("no JPEG picture: it does not begin as one")
    at = 2
    while at + 4 <= len(content):
        if content[at] != _FILL:
            break
        marker = content[at + 1]
        if marker == _FILL or marker in _ALONE:
            at += 1 if marker == _FILL else 2
            continue
        if marker in _FRAMES:
            if marker not in _BASELINE and marker != _PROGRESSIVE:
                raise BadRequest("a JPEG of a kind that is not taken: expected baseline or progressive")
            head = content[at + 4 : at + 4 + _HEAD_BYTES]
            if len(head) < _HEAD_BYTES:
                break
            height, width = int.from_bytes(head[1:3]), int.from_bytes(head[3:5])
            if not width or not height:
                break
            return (width, height), marker == _PROGRESSIVE
        if marker == _SCAN:
            break
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    raise BadRequest("no JPEG picture: its header does not say how large it is")
