# SPDX-License-Identifier: Apache-2.0
"""Decides from the tracks of one source when a bare head is a violation, and when it has ended."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from helmet_agent.contract import ComplianceEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.contract import Box
    from helmet_agent.contract.events import EventKind
    from helmet_agent.vision.tracks import Track, TrackUpdate

State = Literal["unknown", "protected", "violating"]

PERSON = "person"
WORN = "helmet-on"
BARE = "helmet-off"
# The label "helmet" is a hat that nobody wears: it protects no one and appears nowhere below.

_ABOVE = 0.15  # how far, in heights of the person, a head may stick out above a person's box


@dataclass(frozen=True, slots=True)
class ComplianceSettings:
    """When a bare head becomes an event.

    Attributes:
        frames_needed: N, how many frames must agree, 1 <= N <= M.
        window: M, of how many of the latest frames in which the head was seen.
        require_person: count a bare head only in frames in which it belongs to a person.
        upper_part: share of a person's box, from the top, in which the centre of the head must lie, in (0, 1].
    """

    frames_needed: int = 6
    window: int = 10
    require_person: bool = False
    upper_part: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.frames_needed <= self.window:
            raise ValueError(f"expected 1 <= frames_needed <= window, found {self.frames_needed} and {self.window}")


class _Moment(NamedTuple):
    frame: int
    seconds: float


@dataclass(slots=True)
class _Head:
    """What is known of one tracked head."""

    seen: deque[bool]  # whether it was bare, oldest first
    state: State = "unknown"
    violation: str = ""
    since_seconds: float = 0.0
    latest: Track | None = None


class Compliance:
    """Watches the heads of one source. Not for use by two threads at once.

    A head is *unknown* until N of its latest M frames agree, then *protected* or *violating*. Each change asks for N
    new frames: what led to the last change is forgotten, so a label that flickers starts nothing and ends nothing.
    Frames in which a head is missed say nothing about it. A violation ends when the head is protected or its track
    is given up.

    Args:
        source: the source's name, free of credentials.
        settings: the N of M rule.
    """

    def __init__(self, source: str, settings: ComplianceSettings | None = None) -> None:
        self._source = source
        self._settings = settings or ComplianceSettings()
        self._heads: dict[int, _Head] = {}

    @property
    def states(self) -> dict[int, State]:
        """The state of each live head by its track's number."""
        return {number: head.state for number, head in self._heads.items()}

    def update(self, update: TrackUpdate, frame: int, time_seconds: float) -> tuple[ComplianceEvent, ...]:
        """Takes the tracks of the source's next processed frame.

        Args:
            update: from ``tracking.Tracker``.
            frame: number of the frame in its source.
            time_seconds: when it was taken, Unix time.

        Returns:
            What started and ended in this frame; the event of one violation's end has the id of its start.
        """
        now = _Moment(frame, time_seconds)
        events = [self._end(track, now) for track in update.lost if self._violating(track.id)]
        for track in update.lost:
            self._heads.pop(track.id, None)
        seen = [track for track in update.tracks if not track.missed]
        heads = [track for track in seen if track.label in (WORN, BARE)]
        persons = [track.box for track in seen if track.label == PERSON]
        owners = match_heads([head.box for head in heads], persons, self._settings.upper_part)
        for index, track in enumerate(heads):
            owner = owners.get(index)
            event = self._look(track, None if owner is None else persons[owner], now)
            if event is not None:
                events.append(event)
        return tuple(events)

    def finish(self, frame: int, time_seconds: float) -> tuple[ComplianceEvent, ...]:
        """Ends what is still open, for a source that will not come back."""
        open_heads = [head.latest for number, head in self._heads.items() if self._violating(number)]
        events = tuple(self._end(track, _Moment(frame, time_seconds)) for track in open_heads if track is not None)
        self._heads.clear()
        return events

    def _violating(self, number: int) -> bool:
        return number in self._heads and self._heads[number].state == "violating"

    def _look(self, track: Track, person: Box | None, now: _Moment) -> ComplianceEvent | None:
        rule = self._settings
        head = self._heads.setdefault(track.id, _Head(deque(maxlen=rule.window)))
        head.latest = track
        bare = track.label == BARE
        if bare and person is None and rule.require_person:
            return None
        head.seen.append(bare)
        agreed = sum(1 for one in head.seen if one == bare) >= rule.frames_needed
        new: State = "violating" if bare else "protected"
        if not agreed or new == head.state:
            return None
        old, head.state = head.state, new
        head.seen.clear()
        if new == "violating":
            # Track numbers and frames begin anew with the process; the time keeps ids of two runs apart.
            head.violation = f"{self._source}-{int(now.seconds)}-{track.id}-{now.frame}"
            head.since_seconds = now.seconds
            return self._event("violation_started", head, track, person, now)
        if old == "violating":
            return self._event("violation_ended", head, track, person, now)
        return None

    def _end(self, track: Track, now: _Moment) -> ComplianceEvent:
        return self._event("violation_ended", self._heads[track.id], track, None, now)

    def _event(self, kind: EventKind, head: _Head, track: Track, person: Box | None, now: _Moment) -> ComplianceEvent:
        # A lost head was last seen some frames ago. Unix time may have been set back meanwhile.
        lasted = max(0.0, track.last_seen_seconds - head.since_seconds)
        return ComplianceEvent(
            id=head.violation,
            kind=kind,
            source=self._source,
            frame=now.frame,
            time_seconds=now.seconds,
            track=track.id,
            label=track.label,
            score=track.score,
            box=track.box,
            person=person,
            duration_seconds=None if kind == "violation_started" else lasted,
        )


def match_heads(heads: Sequence[Box], persons: Sequence[Box], upper_part: float = 0.5) -> dict[int, int]:
    """Which head belongs to which person: at most one each.

    A head can belong to a person in whose upper part its centre lies. Best fit first: how much of the head is inside,
    less the nearer it is to the sides and to the waist, since in a crowd one head lies inside several people's boxes.

    Args:
        heads: corners in source pixels.
        persons: likewise.
        upper_part: share of a person's box, from the top, that can hold the centre of the head.

    Returns:
        Index of the person by index of the head.
    """
    fits = [
        (-fit, index, number)
        for index, head in enumerate(heads)
        for number, person in enumerate(persons)
        if (fit := _fit(head, person, upper_part)) > 0.0
    ]
    owners: dict[int, int] = {}
    for _, index, number in sorted(fits):
        if index not in owners and number not in owners.values():
            owners[index] = number
    return owners


def _fit(head: Box, person: Box, upper_part: float) -> float:
    width, height = person[2] - person[0], person[3] - person[1]
    x, y = (head[0] + head[2]) / 2.0, (head[1] + head[3]) / 2.0
    if not (person[0] <= x <= person[2] and person[1] - _ABOVE * height <= y <= person[1] + upper_part * height):
        return 0.0
    inside_x = min(head[2], person[2]) - max(head[0], person[0])
    inside_y = min(head[3], person[3]) - max(head[1], person[1])
    area = (head[2] - head[0]) * (head[3] - head[1])
    if inside_x <= 0.0 or inside_y <= 0.0 or area <= 0.0:
        return 0.0
    aside = abs(x - (person[0] + person[2]) / 2.0) / width
    below = abs(head[1] - person[1]) / height
    return inside_x * inside_y / area * (1.0 - aside) * max(0.0, 1.0 - below)
