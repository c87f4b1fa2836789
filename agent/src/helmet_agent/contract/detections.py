# SPDX-License-Identifier: Apache-2.0
"""What was seen in one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from helmet_agent.contract.fields import ContractError, Fields

Box = tuple[float, float, float, float]
"""``(x1, y1, x2, y2)`` in source pixels, x1 < x2 and y1 < y2, origin at the top left corner of the picture."""

MAX_PIXELS = 1 << 16


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that the model claims to see.

    Attributes:
        label: one of the manifest's labels.
        score: confidence in [0, 1].
        box: corners in source pixels.
    """

    label: str
    score: float
    box: Box

    def to_json(self) -> dict[str, Any]:
        """The wire form: score to 4 decimals, box to a tenth of a pixel."""
        return {
            "label": self.label,
            "score": round(self.score, 4),
            "box": [round(edge, 1) for edge in self.box],
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Detection:
        """Reads the wire form.

        Raises:
            ContractError: a field is missing or out of range.
        """
        box = fields.numbers("box", -MAX_PIXELS, MAX_PIXELS)
        if len(box) != 4:  # noqa: PLR2004 - four edges
            raise ContractError(f"{fields.path('box')}: expected four numbers, found {len(box)}")
        found = cls(fields.text("label"), fields.number("score", 0.0, 1.0), (box[0], box[1], box[2], box[3]))
        fields.done()
        return found


@dataclass(frozen=True, slots=True)
class FrameReport:
    """The detections of one frame, with all that is needed to know where they come from.

    Attributes:
        source: the source's name, free of credentials.
        frame: number of the frame in its source, from 0.
        width, height: size of the source picture in pixels.
        model: sha256 of the model file that looked at the frame.
        hard: whether any mining rule chose the frame.
        detections: best score first.
    """

    source: str
    frame: int
    width: int
    height: int
    model: str
    hard: bool
    detections: tuple[Detection, ...]

    def to_json(self) -> dict[str, Any]:
        """One line of ``helmet-agent detect --json``."""
        return {
            "source": self.source,
            "frame": self.frame,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "hard": self.hard,
            "detections": [found.to_json() for found in self.detections],
        }
