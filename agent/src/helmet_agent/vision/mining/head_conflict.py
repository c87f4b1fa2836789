# SPDX-License-Identifier: Apache-2.0
"""HeadConflict: the same head is said to wear a helmet and to be bare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.boxes import HELMET_OFF, HELMET_ON, iou
from helmet_agent.vision.mining.parameters import number
from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from helmet_agent.vision.mining.rule import RuleContext


@dataclass(frozen=True, slots=True)
class HeadConflict:
    """Hard iff a ``helmet-on`` and a ``helmet-off`` box overlap by at least ``iou``.

    Boxes of one class suppress each other, boxes of two do not: both stay, and one of them is wrong.

    The verdict's value is the lower score of the two, of the worst such pair, in [0, 1].

    Parameters:
        iou: intersection over union from which on two boxes are one head (0..1).
    """

    name: ClassVar[str] = "HeadConflict"
    iou: float = number(0.5)

    def judge(self, context: RuleContext) -> Verdict | None:
        """Judges the pairs of heads."""
        worn = [found for found in context.detections if found.label == HELMET_ON]
        bare = [found for found in context.detections if found.label == HELMET_OFF]
        values = [
            min(a.score, b.score) for a in worn for b in bare if (shared := iou(a.box, b.box)) and shared >= self.iou
        ]
        return Verdict(self.name, max(values)) if values else None
