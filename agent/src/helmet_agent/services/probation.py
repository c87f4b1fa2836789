# SPDX-License-Identifier: Apache-2.0
"""Whether a model that serves since a moment ago proves itself; pure.

What a camera sees changes for reasons of its own, and so does the load of the machine. A model is therefore not judged
by the past: the model before it, which is still loaded, is asked about some of the same frames at the same time.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from enum import Enum

MAX_FAILURES = 3
"""Frames that the model may fail on."""

MIN_OPINIONS = 5
"""So many frames must have been looked at by the old model as well before it outweighs the new one."""

SURE_OPINIONS = 10
"""With so many, and ``SURE_FRAMES`` looked at, a model that is worse is sent back before its time is over."""

SURE_FRAMES = 20
ROOM_SECONDS = 0.002
"""A difference in time below this says nothing."""

LEAST_SHARE, MOST_SHARE = 0.5, 3.0
"""A model that shows fewer objects than this share of what the old one does on the same frames, or more than so many
times as many, sees another world. A better model finds what the old one missed: the room upwards is the larger one."""

MIN_OBJECTS = 10
"""So many objects must have been shown by either model before their numbers are compared."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """Totals of the pipeline since the start.

    Attributes:
        frames: looked at and understood.
        failures: frames that the model failed on.
        detections: objects shown.
        inference_seconds: time in the network.
    """

    frames: int = 0
    failures: int = 0
    detections: int = 0
    inference_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the old model makes of the latest frame.

    Attributes:
        detections: objects shown.
        seconds: time in the network.
        shown: objects that the live model showed on the same frame; None: it did not look at that frame.
        live_seconds: what the live model took for it; None: as above.
    """

    detections: int
    seconds: float
    shown: int | None = None
    live_seconds: float | None = None


class Outcome(Enum):
    """How a probation stands."""

    GOES_ON = "goes on"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(slots=True)
class Probation:
    """One model's probation.

    Attributes:
        started: monotonic seconds.
        before: the pipeline's totals when it began.
        seconds, frames: both must have gone by before the model is confirmed.
        max_latency_ratio: slower than the old model by more than this factor is too slow.
    """

    started: float
    before: Vitals
    seconds: float
    frames: int
    max_latency_ratio: float
    opinions: list[Opinion] = field(default_factory=list)
    reason: str = ""
    golden_looks: int = 0

    def wants_opinion(self, now: Vitals) -> bool:
        """Whether the old model should look at the latest frame too: always, until there are enough opinions."""
        return now.frames > self.before.frames and len(self.opinions) < 4 * MIN_OPINIONS

    def wants_golden(self, *, passing: bool) -> bool:
        """Whether the golden frames should be looked at now: at the beginning, and before the model is confirmed."""
        self.golden_looks += 1
        return passing or self.golden_looks == 1

    def judge(self, monotonic: float, now: Vitals) -> Outcome:
        """How it stands; ``reason`` tells why it failed.

        What is certain is told at once: failures, and with ``SURE_OPINIONS`` also what the comparison shows.
        """
        frames = now.frames - self.before.frames
        failures = now.failures - self.before.failures
        if failures >= MAX_FAILURES:
            self.reason = f"failed on {failures} frames"
            return Outcome.FAILED
        over = monotonic - self.started >= self.seconds and frames >= self.frames
        if (over or (len(self.opinions) >= SURE_OPINIONS and frames >= SURE_FRAMES)) and self._worse(frames, now):
            return Outcome.FAILED
        return Outcome.PASSED if over else Outcome.GOES_ON

    def _worse(self, frames: int, now: Vitals) -> bool:
        if len(self.opinions) < MIN_OPINIONS:
            return False
        if self._blind(now.detections - self.before.detections):
            self.reason = f"shows nothing in {frames} frames where the model before it still finds objects"
            return True
        return self._drifted() or self._slow((now.inference_seconds - self.before.inference_seconds) / max(1, frames))

    def _blind(self, detections: int) -> bool:
        return detections == 0 and sum(opinion.detections > 0 for opinion in self.opinions) >= MIN_OPINIONS

    def _drifted(self) -> bool:
        pairs = [(one.shown, one.detections) for one in self.opinions if one.shown is not None]
        new, old = sum(shown for shown, _ in pairs), sum(detections for _, detections in pairs)
        if len(pairs) < MIN_OPINIONS or max(new, old) < MIN_OBJECTS:
            return False
        if LEAST_SHARE * old <= new <= max(MOST_SHARE * old, float(MIN_OBJECTS)):
            return False
        self.reason = f"shows {new} objects on {len(pairs)} frames where the model before it shows {old}"
        return True

    def _slow(self, mean_seconds: float) -> bool:
        # The old model's runs come one at a time from another thread, cold: if anything this favours the new one.
        pairs = [(one.live_seconds, one.seconds) for one in self.opinions if one.live_seconds is not None]
        if len(pairs) >= MIN_OPINIONS:
            # Only the same frames: a machine that becomes busy after the last opinion must not count against the new
            # one. Medians, since a busy machine makes single runs of either wait.
            new = statistics.median(live for live, _ in pairs)
            old = statistics.median(seconds for _, seconds in pairs)
        else:
            new = mean_seconds
            old = sum(opinion.seconds for opinion in self.opinions) / len(self.opinions)
        if new <= old * self.max_latency_ratio + ROOM_SECONDS:
            return False
        self.reason = f"takes {1000 * new:.1f} ms a frame where the model before it takes {1000 * old:.1f}"
        return True
