# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helmet_agent.contract import ComplianceEvent, Detection, FileReference, InputSpec
from helmet_agent.errors import ModelError, StorageError
from helmet_agent.ports import Frame
from helmet_agent.runtime import ModelSlot
from helmet_agent.services.pipeline import MAX_CONSECUTIVE_FAILURES, QUEUE_SIZE, Pipeline, ProcessedFrame, SourceEyes
from helmet_agent.testing import FakeDetector, ManualClock, example_manifest
from helmet_agent.vision.tracks import TrackUpdate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.ports import RawOutput
    from helmet_agent.vision.letterbox import LetterboxTransform, PreparedFrame

HEAD = Detection("helmet-off", 0.8, (10.0, 10.0, 20.0, 20.0))
PICTURE = np.zeros((72, 128, 3), np.uint8)


@dataclass
class Handed:
    frame: Frame
    prepared: PreparedFrame
    source: str
    released: int = 0

    def release(self) -> None:
        self.released += 1


@dataclass
class Feed:
    arrivals: list[Handed]
    taken: int = 0

    @property
    def ended(self) -> bool:
        return self.taken == len(self.arrivals)

    def take(self, timeout: float) -> Handed | None:
        del timeout
        self.taken += 1
        return self.arrivals[self.taken - 1]


@dataclass
class Notes:
    seen: list[ProcessedFrame] = field(default_factory=list)

    def observe(self, processed: ProcessedFrame) -> None:
        self.seen.append(processed)


class NoTracking:
    def update(self, detections: Sequence[Detection], time_seconds: float) -> TrackUpdate:
        del detections, time_seconds
        return TrackUpdate(())


@dataclass
class EveryFrameIsHard:
    digests: list[str] = field(default_factory=list)

    def consider(self, frame: Frame, detections: Sequence[Detection], tracks: TrackUpdate, model_digest: str) -> bool:
        del frame, detections, tracks
        self.digests.append(model_digest)
        return True


def feed_of(detector: FakeDetector, count: int, sources: Sequence[str] = ("gate",)) -> Feed:
    frames = [Frame(sources[n % len(sources)], n, 100.0 + n, 0.0, PICTURE) for n in range(count)]
    return Feed([Handed(frame, detector.prepare(frame.image), frame.source) for frame in frames])


def pipeline_over(feed: Feed, slot: ModelSlot, notes: Notes, **changes: object) -> Pipeline:
    parts: dict[str, object] = {
        "feed": feed,
        "slot": slot,
        "eyes": lambda _: SourceEyes(NoTracking(), None),
        "mining": None,
        "observers": [notes],
        "clock": ManualClock(),
    }
    return Pipeline(**(parts | changes))  # type: ignore[arg-type]  # a test's shorthand


def test_every_frame_is_looked_at_reported_and_given_back() -> None:
    detector = FakeDetector([[HEAD], []])
    feed, notes = feed_of(detector, 5), Notes()
    pipeline = pipeline_over(feed, ModelSlot(detector), notes)
    pipeline.run(threading.Event())
    assert [len(seen.report.detections) for seen in notes.seen] == [1, 0, 1, 0, 1]
    assert [seen.report.frame for seen in notes.seen] == [0, 1, 2, 3, 4]
    assert (notes.seen[0].report.width, notes.seen[0].report.height) == (128, 72)
    assert [handed.released for handed in feed.arrivals] == [1] * 5
    assert pipeline.counters.detections == {"helmet-off": 3}


def test_a_swap_falls_between_two_frames_and_shows_in_the_reports() -> None:
    old, new = FakeDetector(), FakeDetector(manifest=example_manifest(model=FileReference("m", "f" * 64, 1)))
    slot, notes = ModelSlot(old), Notes()
    feed = feed_of(old, 4)
    pipeline = pipeline_over(feed, slot, notes)
    pipeline.step(0.0)
    assert slot.swap(new) is old
    pipeline.run(threading.Event())
    assert [seen.report.model[0] for seen in notes.seen] == ["0", "f", "f", "f"]


def test_a_frame_prepared_for_another_input_size_is_prepared_again() -> None:
    small = FakeDetector(manifest=example_manifest(input=InputSpec(192, 320)))
    sizes: list[tuple[int, ...]] = []

    class Watching(FakeDetector):
        def run(self, prepared: PreparedFrame) -> Sequence[RawOutput]:
            sizes.append(prepared.pixels.shape[:2])
            return super().run(prepared)

    slot = ModelSlot(Watching(manifest=example_manifest(input=InputSpec(192, 320))))
    pipeline_over(feed_of(FakeDetector(), 2), slot, Notes()).run(threading.Event())
    pipeline_over(feed_of(small, 1), slot, Notes()).run(threading.Event())
    assert sizes == [(192, 320)] * 3


def test_one_bad_inference_is_counted_and_the_next_frame_goes_on() -> None:
    detector = FakeDetector(fails_on={1})
    feed, notes = feed_of(detector, 4), Notes()
    pipeline = pipeline_over(feed, ModelSlot(detector), notes)
    pipeline.run(threading.Event())
    assert pipeline.counters.failures == 1
    assert [seen.report.frame for seen in notes.seen] == [0, 2, 3]
    assert [handed.released for handed in feed.arrivals] == [1] * 4


def test_a_model_that_fails_on_every_frame_ends_the_run_with_advice() -> None:
    detector = FakeDetector(fails_on=range(100))
    pipeline = pipeline_over(feed_of(detector, 50), ModelSlot(detector), Notes())
    with pytest.raises(ModelError, match="self-test"):
        pipeline.run(threading.Event())
    assert pipeline.counters.failures >= MAX_CONSECUTIVE_FAILURES
    assert pipeline.counters.frames == 0


def test_hard_and_the_digest_reach_mining_and_the_report() -> None:
    detector, mining, notes = FakeDetector(), EveryFrameIsHard(), Notes()
    pipeline = pipeline_over(feed_of(detector, 2), ModelSlot(detector), notes, mining=mining)
    pipeline.run(threading.Event())
    assert [seen.report.hard for seen in notes.seen] == [True, True]
    assert mining.digests == ["0" * 64] * 2
    assert pipeline.counters.hard == 2


def test_each_source_has_eyes_of_its_own_and_events_are_counted() -> None:
    made: list[str] = []

    class OneViolation:
        def update(self, update: TrackUpdate, frame: int, time_seconds: float) -> Sequence[ComplianceEvent]:
            del update
            return [ComplianceEvent("e", "violation_started", "s", frame, time_seconds, 1, "helmet-off", 0.5, HEAD.box)]

        def finish(self, frame: int, time_seconds: float) -> Sequence[ComplianceEvent]:
            return [ComplianceEvent("e", "violation_ended", "s", frame, time_seconds, 1, "helmet-off", 0.5, HEAD.box)]

    def eyes(source: str) -> SourceEyes:
        made.append(source)
        return SourceEyes(NoTracking(), OneViolation())

    detector = FakeDetector()
    pipeline = pipeline_over(feed_of(detector, 6, ("gate", "yard")), ModelSlot(detector), Notes(), eyes=eyes)
    pipeline.run(threading.Event())
    assert made == ["gate", "yard"]
    assert pipeline.counters.violations == 6
    assert [(event.kind, event.frame) for event in pipeline.finish()] == [
        ("violation_ended", 4),
        ("violation_ended", 5),
    ]


def test_stop_ends_the_loop_although_frames_are_left() -> None:
    detector, stop, notes = FakeDetector(), threading.Event(), Notes()
    stop.set()
    pipeline_over(feed_of(detector, 3), ModelSlot(detector), notes).run(stop)
    assert notes.seen == []


def test_outputs_that_cannot_be_decoded_count_as_failures_of_the_model() -> None:
    class Nonsense(FakeDetector):
        def decode(
            self, outputs: Sequence[RawOutput], transform: LetterboxTransform, min_score: float | None = None
        ) -> tuple[Detection, ...]:
            del outputs, transform, min_score
            raise ModelError("NaN")

    detector = Nonsense()
    pipeline = pipeline_over(feed_of(detector, 50), ModelSlot(detector), Notes())
    with pytest.raises(ModelError, match="in a row, last: NaN"):
        pipeline.run(threading.Event())


def test_a_disk_that_refuses_an_event_ends_a_batch_run() -> None:
    class Refusing:
        def observe(self, processed: ProcessedFrame) -> None:
            del processed
            raise StorageError("disk full")

    detector = FakeDetector()
    pipeline = pipeline_over(feed_of(detector, 3), ModelSlot(detector), Notes(), observers=[Refusing()])
    with pytest.raises(StorageError, match="disk full"):
        pipeline.run(threading.Event())


def test_live_a_frame_is_dropped_rather_than_keep_the_network_waiting() -> None:
    gate, entered = threading.Event(), threading.Event()

    class Slow:
        def observe(self, processed: ProcessedFrame) -> None:
            del processed
            entered.set()
            gate.wait(10.0)

    detector = FakeDetector()
    pipeline = pipeline_over(feed_of(detector, 6), ModelSlot(detector), Notes(), observers=[Slow()], blocking=False)
    pipeline.step(0.0)
    assert entered.wait(10.0)
    for _ in range(5):
        pipeline.step(0.0)
    assert pipeline.dropped == 5 - QUEUE_SIZE
    assert pipeline.beats()["understanding"] > 0.0
    gate.set()
    pipeline.finish()
    assert pipeline.counters.frames == 1 + QUEUE_SIZE
