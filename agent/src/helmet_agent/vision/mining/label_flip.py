# SPDX-License-Identifier: Apache-2.0
"""LabelFlip: one head wears a helmet in one frame and none in the next."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.parameters import whole
from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from helmet_agent.vision.mining.rule import RuleContext


@dataclass(frozen=True, slots=True)
class LabelFlip:
    """Hard iff a track's label changes in this frame.

    People put helmets on and off a few times a day; a label that changes within the handful of matches that a track
    remembers is the model contradicting itself, and the more often, the surer that is.

    The verdict's value is the number of changes among the remembered matches, of the track with most.

    Parameters:
        min_changes: changes among the remembered matches, this frame's included, from which on it counts (1..15).
        min_hits: matches that a track needs before its labels are believed (2..10000).
    """

    name: ClassVar[str] = "LabelFlip"
    min_changes: int = whole(1, 1, 15)
    min_hits: int = whole(3, 2, 10_000)

    def judge(self, context: RuleContext) -> Verdict | None:
        """Judges the tracks that were matched in this frame."""
        most = 0
        for track in context.tracks.tracks:
            labels = track.labels
            if track.missed or track.hits < self.min_hits or len(labels) < 2 or labels[-1] == labels[-2]:  # noqa: PLR2004 - a change takes two
                continue
            most = max(most, sum(before != after for before, after in pairwise(labels)))
        return Verdict(self.name, float(most)) if most >= self.min_changes else None
