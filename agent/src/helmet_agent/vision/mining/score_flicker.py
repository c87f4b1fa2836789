# SPDX-License-Identifier: Apache-2.0
"""ScoreFlicker: the model was sure of an object a moment ago and is not now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.boxes import at_border
from helmet_agent.vision.mining.parameters import number, whole
from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from helmet_agent.vision.mining.rule import RuleContext


@dataclass(frozen=True, slots=True)
class ScoreFlicker:
    """Hard iff the score of a track falls to the lowest of its last matches, at least ``swing`` below their highest.

    The frame taken is the one at the bottom of the swing, the one worth a label. Objects at the border are left out:
    their scores fall because they leave.

    The verdict's value is the largest such fall, in [0, 1].

    Parameters:
        swing: smallest fall that counts (0..1).
        window: how many of a track's latest matches are looked at, this frame's included (2..16).
        border: width of the border zone, as a share of the picture's smaller side (0..0.5).
    """

    name: ClassVar[str] = "ScoreFlicker"
    swing: float = number(0.35)
    window: int = whole(8, 2, 16)
    border: float = number(0.02, 0.0, 0.5)

    def judge(self, context: RuleContext) -> Verdict | None:
        """Judges the tracks that were matched in this frame."""
        deepest = 0.0
        for track in context.tracks.tracks:
            if track.missed or at_border(track.box, context.width, context.height, self.border):
                continue
            *before, now = track.scores[-self.window :]
            if before and now < min(before):
                deepest = max(deepest, max(before) - now)
        return Verdict(self.name, deepest) if deepest > 0.0 and deepest >= self.swing else None
