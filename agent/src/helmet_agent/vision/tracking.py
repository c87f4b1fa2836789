# SPDX-License-Identifier: Apache-2.0
"""Follows objects over the frames of one source."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from helmet_agent.vision.nms import areas, iou_matrix
from helmet_agent.vision.tracks import HISTORY, Track, TrackUpdate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from helmet_agent.contract import Box, Detection

_GROUPS = {"helmet-on": "head", "helmet-off": "head"}
_VELOCITY_MEMORY = 0.5  # share of the old velocity in the new one: boxes jitter by a pixel or two
_COASTING = 0.8  # what is left of the velocity after a missed frame: nobody walks straight on for ever


def group_of(label: str) -> str:
    """What a label shares a track with: a head stays the same head when its helmet comes off."""
    return _GROUPS.get(label, label)


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How willing the tracker is to call two boxes the same object.

    Attributes:
        high_score: detections from here on choose their track first, the weaker ones take what is left. A weak box
            where a track is expected is more likely somebody half hidden than a mistake (Zhang et al., ByteTrack,
            arXiv:2110.06864).
        min_iou: smallest overlap that makes two boxes the same, in [0, 1].
        reach: without that overlap, largest distance of the centres, in widths of the smaller side. Heads move by
            more than their own size between two processed frames.
        max_size_ratio: without that overlap, largest ratio of the two areas.
        same_iou: overlap above which two boxes of one group in one frame are one object, seen with two labels.
        max_missed: frames that a track is kept without a match; never more than it had matches, so that a mistake
            of one frame does not linger.
    """

    high_score: float = 0.4
    min_iou: float = 0.2
    reach: float = 1.5
    max_size_ratio: float = 2.5
    same_iou: float = 0.6
    max_missed: int = 12


@dataclass(slots=True, eq=False)
class _Live:
    """A track that is being followed; its box is where it is expected until it is matched.

    Plain numbers: for a handful of objects they are several times faster than small arrays.
    """

    id: int
    group: str
    label: str
    score: float
    box: Box
    first_seen: float
    last_seen: float
    velocity: tuple[float, float] = (0.0, 0.0)
    seen_at: tuple[float, float] = (0.0, 0.0)
    hits: int = 0
    missed: int = 0
    scores: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    labels: deque[str] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def predict(self) -> None:
        (x1, y1, x2, y2), (dx, dy) = self.box, self.velocity
        self.box = (x1 + dx, y1 + dy, x2 + dx, y2 + dy)

    def take(self, found: Detection, time_seconds: float) -> None:
        x1, y1, x2, y2 = found.box
        x, y = (x1 + x2) / 2.0, (y1 + y2) / 2.0
        if self.hits:
            share = (1.0 - _VELOCITY_MEMORY) / (self.missed + 1)
            self.velocity = (
                self.velocity[0] * _VELOCITY_MEMORY + (x - self.seen_at[0]) * share,
                self.velocity[1] * _VELOCITY_MEMORY + (y - self.seen_at[1]) * share,
            )
        self.hits += 1
        self.box, self.seen_at, self.missed = found.box, (x, y), 0
        self.label, self.score, self.last_seen = found.label, found.score, time_seconds
        self.scores.append(found.score)
        self.labels.append(found.label)

    def miss(self) -> None:
        self.missed += 1
        self.velocity = (self.velocity[0] * _COASTING, self.velocity[1] * _COASTING)

    def snapshot(self) -> Track:
        return Track(
            id=self.id,
            label=self.label,
            score=self.score,
            box=self.box,
            hits=self.hits,
            missed=self.missed,
            first_seen_seconds=self.first_seen,
            last_seen_seconds=self.last_seen,
            scores=tuple(self.scores),
            labels=tuple(self.labels),
        )


class Tracker:
    """Gives the objects of one source numbers that last. Not for use by two threads at once.

    Each track is expected where it would be if it moved on as before, in pixels per processed frame: the time stamps
    of files say when they were read, and Unix time may jump. Pairs are taken best first; the order in which the
    detections come does not matter.

    Args:
        settings: how willing it is to match.
    """

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self._settings = settings or TrackerSettings()
        self._live: list[_Live] = []
        self._next_id = 1

    def update(self, detections: Sequence[Detection], time_seconds: float) -> TrackUpdate:
        """Takes the detections of the source's next processed frame.

        Args:
            detections: in any order, boxes in source pixels.
            time_seconds: when the frame was taken, Unix time; kept in the tracks, not used for motion.
        """
        found = self._distinct(detections)
        for live in self._live:
            live.predict()
        taken: set[int] = set()
        matched: set[int] = set()
        for index, number in self._pairs(found):
            if index not in matched and number not in taken:
                matched.add(index)
                taken.add(number)
                self._live[index].take(found[number], time_seconds)
        for index, live in enumerate(self._live):
            if index not in matched:
                live.miss()
        lost = [live for live in self._live if live.missed > min(live.hits, self._settings.max_missed)]
        started = [self._start(one, time_seconds) for number, one in enumerate(found) if number not in taken]
        self._live = [live for live in self._live if live not in lost] + started
        return TrackUpdate(
            tracks=tuple(live.snapshot() for live in self._live),
            started=tuple(live.snapshot() for live in started),
            lost=tuple(live.snapshot() for live in lost),
        )

    def _distinct(self, detections: Sequence[Detection]) -> list[Detection]:
        """One detection for each object, best score first, in an order that does not depend on theirs."""
        ordered = sorted(detections, key=lambda one: (-one.score, one.label, one.box))
        labels = {one.label for one in ordered}
        if len(labels) == len({group_of(label) for label in labels}):
            return ordered  # nothing can have been seen with two labels; within one the detector has suppressed
        boxes = _boxes([one.box for one in ordered])
        same = iou_matrix(boxes, boxes) > self._settings.same_iou
        kept: list[int] = []
        for number, one in enumerate(ordered):
            twins = [ordered[k].label for k in kept if same[number, k] and ordered[k].label != one.label]
            if group_of(one.label) not in map(group_of, twins):
                kept.append(number)
        return [ordered[number] for number in kept]

    def _pairs(self, found: list[Detection]) -> list[tuple[int, int]]:
        """Possible pairs of (live track, detection), the one to take first at the front."""
        if not found or not self._live:
            return []
        affinity = self._affinity(_boxes([live.box for live in self._live]), _boxes([one.box for one in found]))
        groups = [group_of(one.label) for one in found]
        possible = [
            (found[number].score < self._settings.high_score, -affinity[index, number], index, number)
            for index, number in np.argwhere(affinity > 0.0).tolist()
            if self._live[index].group == groups[number]
        ]
        return [(index, number) for _, _, index, number in sorted(possible)]

    def _affinity(self, expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(tracks, detections)``: overlap plus nearness, 0 where a pair is out of the question."""
        overlap = iou_matrix(expected, found)
        apart = _centres(expected)[:, None] - _centres(found)[None]
        away = np.hypot(apart[..., 0], apart[..., 1])
        size = np.maximum((_short_sides(expected)[:, None] + _short_sides(found)[None]) / 2.0, 1e-6)
        nearness = np.maximum(1.0 - away / (size * self._settings.reach), 0.0)
        first, second = areas(expected)[:, None], areas(found)[None]
        alike = np.maximum(first, second) <= np.minimum(first, second) * self._settings.max_size_ratio
        possible = (overlap >= self._settings.min_iou) | (alike & (nearness > 0.0))
        return np.where(possible, overlap + nearness, 0.0)

    def _start(self, found: Detection, time_seconds: float) -> _Live:
        live = _Live(
            id=self._next_id,
            group=group_of(found.label),
            label=found.label,
            score=found.score,
            box=found.box,
            first_seen=time_seconds,
            last_seen=time_seconds,
        )
        live.take(found, time_seconds)
        self._next_id += 1
        return live


def _boxes(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.array(boxes, np.float64).reshape(-1, 4)


def _centres(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2.0


def _short_sides(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).min(axis=1), np.float64)
