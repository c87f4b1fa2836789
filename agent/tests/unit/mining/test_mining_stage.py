# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from helmet_agent.contract import Detection, ExampleRecord, MiningRule
from helmet_agent.errors import StorageError
from helmet_agent.ports import Frame
from helmet_agent.services.mining import DROP_CAUSES, MiningStage
from helmet_agent.testing import ManualClock, MemorySink
from helmet_agent.vision.mining import HourlyBudget, NearDuplicates, RuleBudgets, create
from helmet_agent.vision.tracks import TrackUpdate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from helmet_agent.contract import HardExample
    from helmet_agent.ports import BgrImage
    from helmet_agent.vision.mining import Rule

    Build = Callable[..., MiningStage]

DIGEST = "ab" * 32
UNSURE = Detection("person", 0.3, (10.0, 10.0, 50.0, 90.0))
SURE = Detection("person", 0.99, (10.0, 10.0, 50.0, 90.0))
NOBODY = TrackUpdate(())


def rule(name: str, **parameters: str) -> Rule:
    return create(MiningRule(name, parameters), lambda: 0.0)


def picture(seed: int) -> BgrImage:
    coarse = np.random.default_rng(seed).integers(40, 200, (8, 9, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC), np.uint8)


def frame(seq: int, image: BgrImage | None = None, source: str = "gate") -> Frame:
    return Frame(source, seq, 1_700_000_000.0 + seq, float(seq), picture(seq) if image is None else image)


class Gate:
    """A sink that holds every example until it is told to let them through."""

    def __init__(self) -> None:
        self.memory = MemorySink()
        self.reached = threading.Semaphore(0)
        self.open = threading.Event()

    def put(self, example: HardExample) -> bool:
        self.reached.release()
        self.open.wait(30.0)
        return self.memory.put(example)


def settled(stage: MiningStage) -> dict[str, int]:
    """The counters once nothing is under way any more."""
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        counts = stage.counters()
        if counts["hard"] == counts["kept"] + sum(counts[f"dropped.{cause}"] for cause in DROP_CAUSES):
            return {name: count for name, count in counts.items() if count}
        time.sleep(0.002)
    raise AssertionError(f"frames got lost between the counters: {dict(stage.counters())}")


@pytest.fixture
def build() -> Iterator[Build]:
    stages: list[MiningStage] = []

    def make(sink: Any, **changes: Any) -> MiningStage:
        parts: dict[str, Any] = {
            "rules": [rule("IBT")],
            "budget": RuleBudgets(HourlyBudget(100, 100)),
            "dedup": NearDuplicates(),
            "sink": sink,
            "node_name": "site-3",
            "clock": ManualClock(),
        }
        stages.append(MiningStage(**(parts | changes)))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close(0.1)


def test_a_hard_frame_reaches_the_sink_with_all_that_is_known_of_it(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink)
    hard = frame(7)
    assert stage.consider(hard, [UNSURE], NOBODY, DIGEST)
    assert stage.close(20.0)
    (example,) = sink.examples.values()
    assert example.record == ExampleRecord(
        sha256=example.record.sha256,
        node="site-3",
        source="gate",
        frame=7,
        time_seconds=1_700_000_007.0,
        width=160,
        height=120,
        model=DIGEST,
        rule="IBT",
        value=1.0,
        detections=(UNSURE,),
    )
    assert ExampleRecord.from_json(example.record.to_json()) == example.record


def test_the_picture_kept_is_the_clean_frame(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink)
    hard = frame(1)
    before = hard.image.copy()
    stage.consider(hard, [UNSURE], NOBODY, DIGEST)
    stage.close(20.0)
    (example,) = sink.examples.values()
    shown = cv2.imdecode(np.frombuffer(example.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.abs(shown.astype(int) - before.astype(int)).mean() < 3.0
    assert (hard.image == before).all()


def test_quality_is_the_jpegs(build: Build) -> None:
    sizes = []
    for quality in (50, 90):
        sink = MemorySink()
        stage = build(sink, jpeg_quality=quality)
        stage.consider(frame(1), [UNSURE], NOBODY, DIGEST)
        stage.close(20.0)
        sizes.append(len(next(iter(sink.examples.values())).jpeg))
    assert sizes[0] < sizes[1]


def test_an_easy_frame_is_considered_and_no_more(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink)
    assert not stage.consider(frame(1), [SURE], NOBODY, DIGEST)
    assert stage.close(20.0)
    assert not sink.examples
    assert settled(stage) == {"considered": 1}


def test_every_counter_is_there_from_the_beginning_and_a_snapshot_never_changes(build: Build) -> None:
    stage = build(MemorySink(), rules=[rule("IBT"), rule("Threshold")])
    before = stage.counters()
    assert set(before) == {
        "considered",
        "hard",
        "kept",
        "hard.IBT",
        "hard.Threshold",
        "kept.IBT",
        "kept.Threshold",
        *(f"dropped.{cause}" for cause in DROP_CAUSES),
    }
    stage.consider(frame(1), [UNSURE], NOBODY, DIGEST)
    assert set(before.values()) == {0}
    assert stage.counters()["considered"] == 1
    with pytest.raises(TypeError):
        before["kept"] = 5  # type: ignore[index] - that is the point


def test_a_frame_chosen_by_several_rules_is_kept_once_under_the_first(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, rules=[rule("Threshold"), rule("IBT")])
    stage.consider(frame(1), [UNSURE], NOBODY, DIGEST)
    stage.close(20.0)
    assert [record.rule for record in sink.records] == ["Threshold"]
    assert settled(stage) == {
        "considered": 1,
        "hard": 1,
        "hard.IBT": 1,
        "hard.Threshold": 1,
        "kept": 1,
        "kept.Threshold": 1,
    }


def test_a_rule_out_of_budget_gives_way_to_the_next(build: Build) -> None:
    sink = MemorySink()
    budget = RuleBudgets(HourlyBudget(1, 1))
    stage = build(sink, rules=[rule("Threshold"), rule("IBT")], budget=budget, blocking=True)
    for seq in range(3):
        assert stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST)
    stage.close(20.0)
    assert [record.rule for record in sink.records] == ["Threshold", "IBT"]
    assert settled(stage)["dropped.budget"] == 1


def test_budget_comes_back_with_time(build: Build) -> None:
    sink, clock = MemorySink(), ManualClock()
    stage = build(sink, budget=RuleBudgets(HourlyBudget(1, 1)), clock=clock, blocking=True)
    for seq in range(4):
        stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST)
        clock.advance(1801.0)
    stage.close(20.0)
    assert [record.frame for record in sink.records] == [0, 2]


def test_a_near_duplicate_is_dropped_and_costs_no_budget(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, budget=RuleBudgets(HourlyBudget(2, 2)), blocking=True)
    image = picture(1)
    stage.consider(frame(0, image), [UNSURE], NOBODY, DIGEST)
    for seq in range(1, 5):
        assert stage.consider(frame(seq, image + np.uint8(seq)), [UNSURE], NOBODY, DIGEST)
    stage.consider(frame(5, picture(2)), [UNSURE], NOBODY, DIGEST)
    stage.close(20.0)
    assert [record.frame for record in sink.records] == [0, 5]
    assert settled(stage)["dropped.duplicate"] == 4


def test_a_rule_with_precedence_may_keep_what_a_common_one_kept_but_not_the_other_way_round(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, rules=[rule("HeadWithoutPerson"), rule("IBT")], blocking=True)
    head = Detection("helmet-on", 0.7, (60.0, 10.0, 70.0, 20.0))
    for seq, detections in enumerate(([UNSURE], [UNSURE, head], [UNSURE, head], [UNSURE])):
        stage.consider(frame(seq, picture(1) + np.uint8(seq)), detections, NOBODY, DIGEST)
    stage.close(20.0)
    assert [(record.frame, record.rule) for record in sink.records] == [(0, "IBT"), (1, "HeadWithoutPerson")]
    assert settled(stage)["dropped.duplicate"] == 2


def test_two_sources_may_show_the_same(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, blocking=True)
    stage.consider(frame(0, picture(1), "gate"), [UNSURE], NOBODY, DIGEST)
    stage.consider(frame(0, picture(1) + np.uint8(1), "yard"), [UNSURE], NOBODY, DIGEST)
    stage.close(20.0)
    assert [record.source for record in sink.records] == ["gate", "yard"]


def test_what_the_sink_already_has_is_a_duplicate(build: Build) -> None:
    sink = MemorySink()
    for _ in range(2):  # the second stage is the node after a restart
        stage = build(sink)
        stage.consider(frame(0), [UNSURE], NOBODY, DIGEST)
        stage.close(20.0)
    assert settled(stage) == {"considered": 1, "hard": 1, "hard.IBT": 1, "dropped.duplicate": 1}


def test_a_slow_sink_never_holds_up_a_live_source(build: Build) -> None:
    gate = Gate()
    stage = build(gate, queue_size=2)
    assert stage.consider(frame(0), [UNSURE], NOBODY, DIGEST)
    assert gate.reached.acquire(timeout=20.0)  # the worker holds frame 0; two may wait
    for seq in range(1, 6):
        assert stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST)
    assert stage.counters()["dropped.queue_full"] == 3
    gate.open.set()
    assert stage.close(20.0)
    assert [record.frame for record in gate.memory.records] == [0, 1, 2]
    assert settled(stage)["kept"] == 3


def test_a_frame_dropped_at_the_queue_costs_neither_budget_nor_memory(build: Build) -> None:
    gate = Gate()
    stage = build(gate, queue_size=1, budget=RuleBudgets(HourlyBudget(3, 3)))
    stage.consider(frame(0), [UNSURE], NOBODY, DIGEST)
    assert gate.reached.acquire(timeout=20.0)
    for seq in (1, 2, 2, 2):
        stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST)
    gate.open.set()
    while stage.counters()["kept"] < 2:
        time.sleep(0.002)
    stage.consider(frame(2), [UNSURE], NOBODY, DIGEST)
    assert stage.close(20.0)
    assert [record.frame for record in gate.memory.records] == [0, 1, 2]


def test_a_file_waits_for_a_slow_sink_and_loses_nothing(build: Build) -> None:
    gate = Gate()
    stage = build(gate, queue_size=1, blocking=True)
    reader = threading.Thread(
        target=lambda: [stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST) for seq in range(12)], daemon=True
    )
    reader.start()
    assert gate.reached.acquire(timeout=20.0)
    reader.join(0.05)
    assert reader.is_alive()  # it waits: one frame in work, one queued, ten to come
    gate.open.set()
    reader.join(20.0)
    assert stage.close(20.0)
    assert [record.frame for record in gate.memory.records] == list(range(12))


def test_shedding_keeps_nothing_but_still_judges(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, blocking=True)
    stage.set_shedding(True)
    assert stage.consider(frame(0), [UNSURE], NOBODY, DIGEST)
    assert not stage.consider(frame(1), [SURE], NOBODY, DIGEST)
    stage.set_shedding(False)
    assert stage.consider(frame(0), [UNSURE], NOBODY, DIGEST)
    stage.close(20.0)
    assert len(sink.records) == 1
    assert settled(stage)["dropped.shed"] == 1


def test_shedding_lets_go_of_the_pictures_that_wait(build: Build) -> None:
    gate = Gate()
    stage = build(gate, queue_size=4)
    stage.consider(frame(0), [UNSURE], NOBODY, DIGEST)
    assert gate.reached.acquire(timeout=20.0)
    for seq in range(1, 4):
        stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST)
    stage.set_shedding(True)
    for seq in range(4, 8):
        assert stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST)
    assert stage.counters()["dropped.shed"] == 4  # at once, without a look at the queue
    gate.open.set()
    assert stage.close(20.0)
    assert [record.frame for record in gate.memory.records] == [0]
    assert settled(stage)["dropped.shed"] == 7


def test_a_failing_sink_is_counted_logged_once_and_recovered_from(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, blocking=True)
    with capture_logs() as logs:
        sink.fails_with = StorageError("no space left on /data/spool")
        for seq in range(5):
            assert stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST)
        assert settled(stage)["dropped.sink_error"] == 5
        sink.fails_with = None
        for seq in range(5, 8):
            stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST)
        assert stage.close(20.0)
    assert [record.frame for record in sink.records] == [5, 6, 7]
    assert [entry["log_level"] for entry in logs] == ["error", "info"]
    assert logs[0]["stage"] == "mining"
    assert "no space left on /data/spool" in logs[0]["reason"]


def test_a_picture_that_could_not_be_stored_is_no_reason_to_drop_the_next_one_like_it(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, blocking=True)
    sink.fails_with = StorageError("no space left")
    stage.consider(frame(0, picture(1)), [UNSURE], NOBODY, DIGEST)
    assert settled(stage)["dropped.sink_error"] == 1
    sink.fails_with = None
    stage.consider(frame(1, picture(1)), [UNSURE], NOBODY, DIGEST)
    assert stage.close(20.0)
    assert [record.frame for record in sink.records] == [1]


def test_a_sink_with_a_fault_of_its_own_does_not_end_the_stage(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, blocking=True)
    sink.fails_with = RuntimeError("a fault nobody thought of")
    stage.consider(frame(0), [UNSURE], NOBODY, DIGEST)
    assert settled(stage)["dropped.sink_error"] == 1
    sink.fails_with = None
    stage.consider(frame(1), [UNSURE], NOBODY, DIGEST)
    assert stage.close(20.0)
    assert settled(stage)["kept"] == 1


def test_a_picture_that_cannot_be_a_jpeg_is_dropped_by_that_name(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, blocking=True)
    stage.consider(frame(0, np.zeros((2, 70_000, 3), np.uint8)), [UNSURE], NOBODY, DIGEST)
    stage.consider(frame(1), [UNSURE], NOBODY, DIGEST)
    assert stage.close(20.0)
    assert settled(stage)["dropped.encode_error"] == 1
    assert settled(stage)["kept"] == 1


def test_closing_gives_up_on_a_sink_that_hangs_and_counts_what_is_left(build: Build) -> None:
    gate = Gate()
    stage = build(gate, queue_size=4)
    for seq in range(3):
        stage.consider(frame(seq), [UNSURE], NOBODY, DIGEST)
    started = time.monotonic()
    assert not stage.close(0.2)
    assert time.monotonic() - started < 10.0
    assert settled(stage)["dropped.closed"] == 3
    gate.open.set()
    assert not stage.close(0.2)


def test_what_comes_after_closing_is_judged_counted_and_dropped(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, blocking=True)
    assert stage.close(20.0)
    assert stage.close(20.0)
    assert stage.consider(frame(0), [UNSURE], NOBODY, DIGEST)
    assert settled(stage)["dropped.closed"] == 1
    assert not sink.examples


def test_a_new_model_may_bring_other_rules_and_old_counts_stay(build: Build) -> None:
    sink = MemorySink()
    stage = build(sink, blocking=True)
    stage.consider(frame(0), [UNSURE], NOBODY, DIGEST)
    stage.use_rules([rule("CloudOnly")])
    assert [each.name for each in stage.rules] == ["CloudOnly"]
    assert stage.consider(frame(1), [SURE], NOBODY, DIGEST)
    stage.close(20.0)
    counts = settled(stage)
    assert (counts["kept.IBT"], counts["kept.CloudOnly"], counts["kept"]) == (1, 1, 2)


def test_judging_costs_next_to_nothing(build: Build) -> None:
    names = ["TrackLost", "LabelFlip", "HeadConflict", "ScoreFlicker", "PersonWithoutHead", "HeadWithoutPerson", "IBT"]
    stage = build(MemorySink(), rules=[rule(name) for name in names])
    crowd = [
        Detection(label, 0.99, (40.0 * place, 300.0, 40.0 * place + 20, 300.0 + height))
        for place in range(10)
        for label, height in (("person", 100.0), ("helmet-on", 20.0))
    ]
    image = np.zeros((720, 1280, 3), np.uint8)
    started = time.thread_time()
    for seq in range(200):
        assert not stage.consider(frame(seq, image), crowd, NOBODY, DIGEST)
    # The promise is 0.2 ms on a node; a loaded test machine gets ten times that before this calls it a breach.
    assert (time.thread_time() - started) / 200 < 2e-3
