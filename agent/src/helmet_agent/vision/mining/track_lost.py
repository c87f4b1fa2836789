# SPDX-License-Identifier: Apache-2.0
"""TrackLost: somebody who was there steadily is gone in mid-picture. IBT never sees such a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.boxes import at_border, covered
from helmet_agent.vision.mining.parameters import number, whole
from helmet_agent.vision.mining.rule import Verdict
from helmet_agent.vision.tracking import group_of

if TYPE_CHECKING:
    from helmet_agent.vision.mining.rule import RuleContext
    from helmet_agent.vision.tracks import Track


@dataclass(frozen=True, slots=True)
class TrackLost:
    """Hard iff a track with at least ``min_hits`` matches goes missing away from the border.

    People leave a picture over its border or behind something. Whoever vanishes in the middle of it was most likely
    missed by the model. The frame is taken once a gap, when it is ``missed_frames`` long (earlier when the tracker
    gives up sooner): soon enough that the person still stands there, late enough to let pass what flickers for a
    single frame. Where the model shows another of its kind in the expected place, the track has gone behind that one or
    goes on under another number: no verdict. (Of its kind: every head lies in its own person's box.)

    The verdict's value is the track's mean score before it vanished, in [0, 1]: the surer the model was, the stranger
    its silence.

    Parameters:
        min_hits: matches that make a track steady (2..10000).
        missed_frames: length of the gap in processed frames (1..100).
        border: width of the border zone, as a share of the picture's smaller side (0..0.5). It may be narrow: a track
            that leaves is expected further and further outside.
        covered: share of the expected box under a shown one that explains the gap (0..1).
    """

    name: ClassVar[str] = "TrackLost"
    min_hits: int = whole(8, 2, 10_000)
    missed_frames: int = whole(2, 1, 100)
    border: float = number(0.02, 0.0, 0.5)
    covered: float = number(0.5)

    def judge(self, context: RuleContext) -> Verdict | None:
        """Judges the tracks that were not matched in this frame."""
        gone = [track for track in context.tracks.tracks if track.missed == self.missed_frames]
        gone += [track for track in context.tracks.lost if track.missed <= self.missed_frames]
        values = [math.fsum(track.scores) / len(track.scores) for track in gone if self._strange(track, context)]
        return Verdict(self.name, max(values)) if values else None

    def _strange(self, track: Track, context: RuleContext) -> bool:
        return (
            track.hits >= self.min_hits
            and len(track.scores) > 0
            and not at_border(track.box, context.width, context.height, self.border)
            and not any(
                covered(track.box, found.box) >= self.covered
                for found in context.detections
                if group_of(found.label) == group_of(track.label)
            )
        )
