# SPDX-License-Identifier: Apache-2.0
"""The two loops of the agent: one does nothing but run the network, the other makes sense of what came out.

::

    inference thread       ingest.take -> ModelSlot.current.run -+
                                                                 | bounded queue
    understanding thread   decode -> track -> comply -> mine -> observers

The network takes most of the time and lets go of the interpreter's lock meanwhile, so the second loop works in its
shadow. Neither waits for anything slow: files, JPEG and network stand behind the bounded queue of an observer or of the
mining stage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from helmet_agent.contract import FrameReport
from helmet_agent.errors import AgentError, ModelError
from helmet_agent.services.latency import LatencyWindow
from helmet_agent.services.worker import BoundedWorker

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from helmet_agent.contract import ComplianceEvent, Detection
    from helmet_agent.ports import Clock, Detector, Frame, RawOutput
    from helmet_agent.runtime import ModelSlot
    from helmet_agent.services.ingest import Arrival
    from helmet_agent.vision.letterbox import LetterboxTransform
    from helmet_agent.vision.tracks import TrackUpdate

MAX_CONSECUTIVE_FAILURES = 10
"""So many frames in a row that the model could not handle mean that the model, not the frame, is broken."""

QUEUE_SIZE = 2
"""Frames that wait between the two loops; each holds a whole picture in memory."""

CLOSE_SECONDS = 10.0
"""How long what is queued between the loops may take at the end; it is two frames."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessedFrame:
    """One frame and all that was made of it.

    Attributes:
        source: the configured name of its source (a folder's pictures are called by their paths in ``frame.source``).
        frame: the picture; observers may keep it, nobody may change it.
        report: the detections as they are written down.
        tracks: the source's tracks after the frame.
        events: violations that started or ended with it.
        inference_seconds: time in the network.
        age_seconds: from the frame's arrival to the end of its inference.
    """

    source: str
    frame: Frame
    report: FrameReport
    tracks: TrackUpdate
    events: tuple[ComplianceEvent, ...]
    inference_seconds: float
    age_seconds: float


class FrameFeed(Protocol):
    """Where frames come from; see ``services.ingest``."""

    @property
    def ended(self) -> bool:
        """Whether no frame will ever come again."""

    def take(self, timeout: float) -> Arrival | None:
        """The next frame of the source whose turn it is, or None when nothing came in time (seconds)."""


class Tracking(Protocol):
    """Follows objects of one source; see ``vision.tracking``."""

    def update(self, detections: Sequence[Detection], time_seconds: float) -> TrackUpdate:
        """Takes the detections of the source's next frame."""


class ComplianceRule(Protocol):
    """Decides on violations of one source; see ``vision.compliance``."""

    def update(self, update: TrackUpdate, frame: int, time_seconds: float) -> Sequence[ComplianceEvent]:
        """Takes the tracks of the source's next frame."""

    def finish(self, frame: int, time_seconds: float) -> Sequence[ComplianceEvent]:
        """Ends what is still going on, since no frame will follow the one named."""


class Mining(Protocol):
    """Chooses hard examples; see ``services.mining``."""

    def consider(self, frame: Frame, detections: Sequence[Detection], tracks: TrackUpdate, model_digest: str) -> bool:
        """Whether any rule calls the frame hard; keeping it happens elsewhere."""


class FrameObserver(Protocol):
    """Somebody who wants to know about every processed frame. Must return at once; an ``AgentError`` ends the run."""

    def observe(self, processed: ProcessedFrame) -> None:
        """Takes note of one frame."""


@dataclass(slots=True)
class SourceEyes:
    """What the pipeline remembers of one source."""

    tracking: Tracking
    compliance: ComplianceRule | None
    last_frame: int = 0
    last_seconds: float = 0.0


@dataclass(slots=True)
class PipelineCounters:
    """Totals since the start; read by anyone."""

    frames: int = 0
    failures: int = 0
    detections: dict[str, int] = field(default_factory=dict)
    hard: int = 0
    violations: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the network made of one frame, on its way to the understanding thread."""

    source: str
    frame: Frame
    detector: Detector
    outputs: Sequence[RawOutput]
    transform: LetterboxTransform
    inference_seconds: float
    age_seconds: float


class Pipeline:
    """Runs frames through the live model.

    Args:
        feed: the frames.
        slot: the live model; read once a frame, so that a swap falls between two frames.
        eyes: makes tracking and compliance for a source seen for the first time.
        mining: None leaves mining out.
        observers: told of every frame, in this order, on the understanding thread.
        clock: time.
        min_score: replaces the manifest's thresholds when given.
        blocking: files, where no frame may be lost: inference waits when understanding is behind. Otherwise such a
            frame is dropped and counted.

    Attributes:
        rescue: asked when the live model fails on frame after frame, before that ends the run: True when it has put
            another model in its place.
    """

    def __init__(
        self,
        *,
        feed: FrameFeed,
        slot: ModelSlot,
        eyes: Callable[[str], SourceEyes],
        mining: Mining | None,
        observers: Sequence[FrameObserver],
        clock: Clock,
        min_score: float | None = None,
        blocking: bool = True,
    ) -> None:
        self._feed = feed
        self._slot = slot
        self._new_eyes = eyes
        self.mining = mining
        self.rescue: Callable[[ModelError], bool] | None = None
        self._observers = tuple(observers)
        self._clock = clock
        self._min_score = min_score
        self._eyes: dict[str, SourceEyes] = {}
        self._failures_in_a_row = 0
        self._fatal: AgentError | None = None
        self.counters = PipelineCounters()
        self.inference = LatencyWindow()
        self.age = LatencyWindow()
        self._beat_seconds = clock.monotonic()
        self._understanding: BoundedWorker[_Seen] = BoundedWorker(
            "understanding", self._understand, size=QUEUE_SIZE, blocking=blocking
        )

    def beats(self) -> dict[str, float]:
        """Seconds since each loop last turned."""
        return {
            "inference": self._clock.monotonic() - self._beat_seconds,
            "understanding": self._understanding.busy_seconds(),
        }

    @property
    def dropped(self) -> int:
        """Frames that the network looked at and nobody could make sense of in time."""
        return self._understanding.dropped

    def run(self, stop: threading.Event) -> None:
        """Processes frames until the feed has ended or ``stop`` is set; returns when all of them are understood.

        Raises:
            ModelError: the live model fails on frame after frame.
            StorageError: in a batch run, an event could not be written.
        """
        while not stop.is_set() and not self._feed.ended:
            self.step(timeout=0.2)
        self._settle()

    def step(self, timeout: float) -> bool:
        """Runs the network on at most one frame; False when none came in time.

        Raises:
            ModelError, StorageError: as in ``run``, when it has happened by now.
        """
        self._beat_seconds = self._clock.monotonic()
        if self._fatal is not None:
            raise self._fatal
        arrival = self._feed.take(timeout)
        if arrival is None:
            return False
        try:
            self._look(arrival)
        finally:
            arrival.release()
        return True

    def finish(self) -> tuple[ComplianceEvent, ...]:
        """Ends both loops for good, and the violations that are still going on, whose last events it returns."""
        self._understanding.close(CLOSE_SECONDS)
        return tuple(
            event
            for eyes in self._eyes.values()
            if eyes.compliance is not None
            for event in eyes.compliance.finish(eyes.last_frame, eyes.last_seconds)
        )

    def _settle(self) -> None:
        self._understanding.close(CLOSE_SECONDS)
        if self._fatal is not None:
            raise self._fatal

    def _look(self, arrival: Arrival) -> None:
        """The inference thread's part of one frame."""
        detector = self._slot.current
        prepared = arrival.prepared
        spec = detector.manifest.input
        if prepared.pixels.shape[:2] != (spec.height, spec.width):
            # The model was swapped for one with another input size while this frame waited.
            prepared = detector.prepare(arrival.frame.image)
        started = self._clock.monotonic()
        try:
            outputs = detector.run(prepared)
        except ModelError as error:
            self._failed(arrival.frame, error)
            return
        ended = self._clock.monotonic()
        seconds, age = ended - started, ended - arrival.frame.arrived_seconds
        self._understanding.submit(
            _Seen(arrival.source, arrival.frame, detector, outputs, prepared.transform, seconds, age)
        )

    def _understand(self, seen: _Seen) -> None:
        """The understanding thread's part of one frame."""
        try:
            detections = seen.detector.decode(seen.outputs, seen.transform, self._min_score)
        except ModelError as error:
            self._failed(seen.frame, error)
            return
        self._failures_in_a_row = 0
        processed = self._processed(seen, detections)
        try:
            for observer in self._observers:
                observer.observe(processed)
        except AgentError as error:
            self._fatal = self._fatal or error

    def _processed(self, seen: _Seen, detections: tuple[Detection, ...]) -> ProcessedFrame:
        frame, source = seen.frame, seen.source
        digest = seen.detector.manifest.model.sha256
        eyes = self._eyes.get(source)
        if eyes is None:
            eyes = self._eyes[source] = self._new_eyes(source)
        eyes.last_frame, eyes.last_seconds = frame.seq, frame.time_seconds
        tracks = eyes.tracking.update(detections, frame.time_seconds)
        events = tuple(eyes.compliance.update(tracks, frame.seq, frame.time_seconds)) if eyes.compliance else ()
        hard = self.mining is not None and self.mining.consider(frame, detections, tracks, digest)
        height, width = frame.image.shape[:2]
        report = FrameReport(frame.source, frame.seq, width, height, digest, hard, detections)
        self._count(report, events, seen)
        return ProcessedFrame(source, frame, report, tracks, events, seen.inference_seconds, seen.age_seconds)

    def _count(self, report: FrameReport, events: tuple[ComplianceEvent, ...], seen: _Seen) -> None:
        counters = self.counters
        counters.frames += 1
        counters.hard += report.hard
        counters.violations += sum(event.kind == "violation_started" for event in events)
        for found in report.detections:
            counters.detections[found.label] = counters.detections.get(found.label, 0) + 1
        self.inference.add(seen.inference_seconds)
        self.age.add(seen.age_seconds)

    def _failed(self, frame: Frame, error: ModelError) -> None:
        self.counters.failures += 1
        self._failures_in_a_row += 1
        if self._failures_in_a_row == 1:
            _log.error("the model failed on a frame", source=frame.source, frame=frame.seq, reason=str(error))
        if self._failures_in_a_row < MAX_CONSECUTIVE_FAILURES or self._fatal is not None:
            return
        if self.rescue is not None and self.rescue(error):
            self._failures_in_a_row = 0
        else:
            self._fatal = ModelError(
                f"the model failed on {self._failures_in_a_row} frames in a row, last: {error}; "
                "check it with `helmet-agent self-test` and put another one in its place"
            )
