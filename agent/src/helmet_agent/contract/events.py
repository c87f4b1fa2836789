# SPDX-License-Identifier: Apache-2.0
"""What the node tells people: somebody's head was bare for long enough, and when it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from helmet_agent.contract.detections import Box

EventKind = Literal["violation_started", "violation_ended"]


@dataclass(frozen=True, slots=True)
class ComplianceEvent:
    """A change in whether one tracked person is protected.

    Attributes:
        id: unique on the node, equal for the start and the end of one violation.
        kind: what happened.
        source: the source's name, free of credentials.
        frame: number of the frame in its source that decided it.
        time_seconds: when that frame was taken, Unix time.
        track: number of the tracked head in its source.
        label, score, box: the head in that frame, in source pixels.
        person: box of the person that the head belongs to, if one was matched.
        duration_seconds: how long it lasted; None when it starts.
        snapshot: file name of the picture kept with it, if any.
    """

    id: str
    kind: EventKind
    source: str
    frame: int
    time_seconds: float
    track: int
    label: str
    score: float
    box: Box
    person: Box | None = None
    duration_seconds: float | None = None
    snapshot: str | None = None

    def to_json(self) -> dict[str, Any]:
        """One line of the events file and one server-sent event."""
        return {
            "id": self.id,
            "kind": self.kind,
            "source": self.source,
            "frame": self.frame,
            "time_seconds": round(self.time_seconds, 3),
            "track": self.track,
            "label": self.label,
            "score": round(self.score, 4),
            "box": [round(edge, 1) for edge in self.box],
            "person": None if self.person is None else [round(edge, 1) for edge in self.person],
            "duration_seconds": None if self.duration_seconds is None else round(self.duration_seconds, 3),
            "snapshot": self.snapshot,
        }
