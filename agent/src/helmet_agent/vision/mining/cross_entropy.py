# SPDX-License-Identifier: Apache-2.0
"""CrossEntropy: Sedna's rule on the entropy of the scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.parameters import number
from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from helmet_agent.vision.mining.rule import RuleContext


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Hard iff ``1 + sum(p ln p) / ln(N) < threshold_cross_entropy`` over the scores p of the N boxes.

    The verdict's value is ``-sum(p ln p) / ln(N)``. No boxes, or a score outside [0, 1]: not hard.

    Sedna's formula fails in two places. Here ``0 ln 0`` is 0, its limit; and one box alone is judged as the two
    outcomes that it stands for, p and 1 - p, so that a lone box of score 0.5 is as hard as can be and one of score 1
    is not hard. The sum is rounded once, so that the boxes' order does not matter.
    """

    name: ClassVar[str] = "CrossEntropy"
    threshold_cross_entropy: float = number(0.5)

    def judge(self, context: RuleContext) -> Verdict | None:
        """Judges the scores of the boxes shown."""
        scores = [found.score for found in context.detections]
        if not scores or not all(0.0 <= score <= 1.0 for score in scores):
            return None
        if len(scores) == 1:
            scores.append(1.0 - scores[0])
        log_sum = math.fsum(score * math.log(score) for score in scores if score > 0.0)
        normalised = log_sum / math.log(len(scores))
        return Verdict(self.name, -normalised) if 1.0 + normalised < self.threshold_cross_entropy else None
