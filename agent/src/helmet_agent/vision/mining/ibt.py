# SPDX-License-Identifier: Apache-2.0
"""IBT, image-box-threshold: Sedna's rule for detectors, to the last edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.parameters import number
from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.vision.mining.rule import RuleContext

_SCORE = 4  # place of the score in Sedna's rows


@dataclass(frozen=True, slots=True)
class Ibt:
    """Hard iff ``count(score <= threshold_box) / N >= 1 - threshold_img``.

    The verdict's value is the left side: the share of boxes that the model is unsure of, in [0, 1].

    Sedna's edges hold: a frame without boxes is never hard (so one in which the model misses everybody is never
    mined); one score outside [0, 1] or not a number makes the whole frame not hard; ``threshold_img = 1`` takes every
    frame with a box; and ``1 - threshold_img`` is computed in floating point, so that 3 of 10 boxes at 0.7 are not
    enough (1 - 0.7 is a little more than 0.3).
    """

    name: ClassVar[str] = "IBT"
    threshold_img: float = number(0.5)
    threshold_box: float = number(0.5)

    def judge(self, context: RuleContext) -> Verdict | None:
        """Judges the scores of the boxes shown."""
        return self._judge([found.score for found in context.detections])

    def judge_rows(self, rows: Sequence[Sequence[float]]) -> Verdict | None:
        """The same for callers that hold Sedna's rows ``[xmin, ymin, xmax, ymax, score, label]``.

        A row of four or fewer elements makes the whole frame not hard.
        """
        if any(len(row) <= _SCORE for row in rows):
            return None
        return self._judge([float(row[_SCORE]) for row in rows])

    def _judge(self, scores: list[float]) -> Verdict | None:
        if not scores or not all(0.0 <= score <= 1.0 for score in scores):
            return None
        unsure = sum(score <= self.threshold_box for score in scores) / len(scores)
        return Verdict(self.name, unsure) if unsure >= 1 - self.threshold_img else None
