# SPDX-License-Identifier: Apache-2.0
"""A hard example: a clean picture and why it was kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from helmet_agent.contract.detections import MAX_PIXELS, Detection
from helmet_agent.contract.fields import ContractError, Fields

SCHEMA = 1
_LATEST_SECONDS = 253402300799.0  # the last second of year 9999


@dataclass(frozen=True, slots=True)
class ExampleRecord:
    """All that is known of a hard example except its pixels.

    Attributes:
        sha256: digest of the JPEG file; the example's name everywhere.
        node: name of the node that saw it.
        source: the source's name, free of credentials.
        frame: number of the frame in its source, from 0.
        time_seconds: when the frame was taken, Unix time.
        width, height: size of the picture in pixels.
        model: sha256 of the model that looked at it.
        rule: name of the mining rule that chose it.
        value: that rule's number for this frame; larger is harder, comparable within one rule only.
        detections: what the model saw.
    """

    sha256: str
    node: str
    source: str
    frame: int
    time_seconds: float
    width: int
    height: int
    model: str
    rule: str
    value: float
    detections: tuple[Detection, ...]

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {
            "schema": SCHEMA,
            "sha256": self.sha256,
            "node": self.node,
            "source": self.source,
            "frame": self.frame,
            "time_seconds": self.time_seconds,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "rule": self.rule,
            "value": self.value,
            "detections": [found.to_json() for found in self.detections],
        }

    def to_bytes(self) -> bytes:
        """The record as it is stored: one JSON object, sorted keys, a newline at the end."""
        return json.dumps(self.to_json(), sort_keys=True, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, document: object) -> ExampleRecord:
        """Reads the wire form.

        Raises:
            ContractError: a field is missing, unknown or out of range.
        """
        fields = Fields(document)
        fields.integer("schema", SCHEMA, SCHEMA)
        record = cls(
            sha256=fields.sha256("sha256"),
            node=fields.text("node"),
            source=fields.text("source"),
            frame=fields.integer("frame", 0, 1 << 62),
            time_seconds=fields.number("time_seconds", 0.0, _LATEST_SECONDS),
            width=fields.integer("width", 1, MAX_PIXELS),
            height=fields.integer("height", 1, MAX_PIXELS),
            model=fields.sha256("model"),
            rule=fields.text("rule"),
            value=fields.number("value", -1e9, 1e9),
            detections=fields.objects("detections", Detection.from_fields),
        )
        fields.done()
        return record


@dataclass(frozen=True, slots=True)
class HardExample:
    """A hard example on its way to a sink.

    Attributes:
        jpeg: the clean frame, nothing drawn into it.
        record: what is known of it; ``record.sha256`` is the digest of ``jpeg``.

    Raises:
        ContractError: the digest does not belong to the picture.
    """

    jpeg: bytes
    record: ExampleRecord

    def __post_init__(self) -> None:
        if hashlib.sha256(self.jpeg).hexdigest() != self.record.sha256:
            raise ContractError("sha256: does not belong to the picture")
