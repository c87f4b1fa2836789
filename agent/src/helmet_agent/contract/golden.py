# SPDX-License-Identifier: Apache-2.0
"""Golden frames: pictures that travel with a model, with what it must find in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from helmet_agent.contract.detections import MAX_PIXELS, Box
from helmet_agent.contract.fields import ContractError, Fields

MAX_MODEL_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class FileReference:
    """A file beside the manifest: plain name, sha256, size in bytes."""

    name: str
    sha256: str
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {"name": self.name, "sha256": self.sha256, "size_bytes": self.size_bytes}

    @classmethod
    def from_fields(cls, fields: Fields) -> FileReference:
        """Reads the wire form."""
        found = cls(fields.name("name"), fields.sha256("sha256"), fields.integer("size_bytes", 1, MAX_MODEL_BYTES))
        fields.done()
        return found


@dataclass(frozen=True, slots=True)
class GoldenBox:
    """An object that a person drew into a golden frame; the model must find it again."""

    label: str
    box: Box

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {"label": self.label, "box": list(self.box)}

    @classmethod
    def from_fields(cls, fields: Fields) -> GoldenBox:
        """Reads the wire form."""
        box = fields.numbers("box", -MAX_PIXELS, MAX_PIXELS)
        if len(box) != 4:  # noqa: PLR2004 - four edges
            raise ContractError(f"{fields.path('box')}: expected four numbers, found {len(box)}")
        found = cls(fields.text("label"), (box[0], box[1], box[2], box[3]))
        fields.done()
        return found


@dataclass(frozen=True, slots=True)
class GoldenFrame:
    """A picture beside the manifest with the labelled boxes that the model must find in it.

    Attributes:
        picture: the file.
        boxes: labels drawn by people, never a model's output.
        min_iou: overlap that counts as found. It absorbs the last-bit differences between CPU kernels (x86, ARM).
        min_score: score that a matching detection needs, below the shown threshold for the same reason.
    """

    picture: FileReference
    boxes: tuple[GoldenBox, ...]
    min_iou: float = 0.5
    min_score: float = 0.1

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {
            "picture": self.picture.to_json(),
            "boxes": [box.to_json() for box in self.boxes],
            "min_iou": self.min_iou,
            "min_score": self.min_score,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> GoldenFrame:
        """Reads the wire form."""
        found = cls(
            FileReference.from_fields(fields.child("picture")),
            fields.objects("boxes", GoldenBox.from_fields),
            fields.number("min_iou", 0.0, 1.0, 0.5),
            fields.number("min_score", 0.0, 1.0, 0.1),
        )
        fields.done()
        return found
