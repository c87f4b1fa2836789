# SPDX-License-Identifier: Apache-2.0
"""Threshold: Sedna's rule on the mean score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.parameters import number
from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from helmet_agent.vision.mining.rule import RuleContext


@dataclass(frozen=True, slots=True)
class Threshold:
    """Hard iff ``mean(score) < threshold``; a frame without boxes is not hard, nor one whose mean is no number.

    The verdict's value is ``1 - mean(score)``. The mean is rounded once, so that it does not depend on the boxes'
    order; Sedna's adds one by one and may differ in the last bit.
    """

    name: ClassVar[str] = "Threshold"
    threshold: float = number(0.5)

    def judge(self, context: RuleContext) -> Verdict | None:
        """Judges the scores of the boxes shown."""
        scores = [found.score for found in context.detections]
        if not scores or not all(map(math.isfinite, scores)):
            return None
        mean = math.fsum(scores) / len(scores)
        return Verdict(self.name, 1.0 - mean) if mean < self.threshold else None
