# SPDX-License-Identifier: Apache-2.0
"""The body of an upload: the record as one line of JSON, a line feed, and the JPEG file."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from helmet_agent.contract import ContractError, ExampleRecord
from helmet_cloud.errors import BadRequest
from helmet_cloud.examples.jpeg import check_jpeg
from helmet_cloud.store.tokens import NAME_PATTERN

MEDIA_TYPE = "application/vnd.helmet.example"
MAX_RECORD_BYTES = 256 << 10
"""Longest record taken; about 2,500 detections."""
MAX_TEXT = 512
"""Longest name of a source, rule or label, in characters."""

SHA256 = re.compile(r"[0-9a-f]{64}\Z")

# Control characters break logs and terminals, lone surrogates no text encoding can carry.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that was found to be right.

    Attributes:
        record: what is known of the picture.
        jpeg: the file; a view of the body.
    """

    record: ExampleRecord
    jpeg: memoryview


def parse_upload(sha256: str, body: bytes) -> Upload:
    """Takes a body apart and checks everything about it.

    Args:
        sha256: digest of the picture, as the path of the request says.
        body: all of it.

    Raises:
        BadRequest: the record, the digest or the picture cannot be right.
    """
    if not SHA256.match(sha256):
        raise BadRequest(f"expected 64 lower-case hexadecimal digits in the path, found {sha256[:80]!r}")
    end = body.find(b"\n", 0, MAX_RECORD_BYTES + 1)
    if end < 0:
        raise BadRequest(f"no record: expected one line of at most {MAX_RECORD_BYTES} bytes of JSON before the picture")
    record = parse_record(body[:end])
    if record.sha256 != sha256:
        raise BadRequest(f"record: sha256 is {record.sha256}, the path says {sha256}")
    jpeg = memoryview(body)[end + 1 :]
    found = hashlib.sha256(jpeg).hexdigest()
    if found != sha256:
        raise BadRequest(f"the picture's sha256 is {found}: it was changed or cut off on its way")
    check_jpeg(jpeg, record.width, record.height)
    return Upload(record, jpeg)


def parse_record(line: bytes) -> ExampleRecord:
    """Reads a record.

    Raises:
        BadRequest: it is none, or holds text that cannot be kept.
    """
    try:
        record = ExampleRecord.from_json(json.loads(line))
    except ContractError as error:
        raise BadRequest(f"record: {error}") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"record: no JSON: {' '.join(str(error).split())[:200]}") from None
    if not NAME_PATTERN.match(record.node):
        raise BadRequest(f"record: node: expected letters, digits, '.', '_' and '-', found {record.node[:140]!r}")
    for key, text in (("source", record.source), ("rule", record.rule)):
        _check_text(key, text)
    for index, detection in enumerate(record.detections):
        _check_text(f"detections[{index}].label", detection.label)
    return record


def _check_text(key: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise BadRequest(f"record: {key}: longer than {MAX_TEXT} characters")
    if _UNFIT.search(text):
        raise BadRequest(f"record: {key}: control characters and lone surrogates are not taken: {text[:80]!r}")
