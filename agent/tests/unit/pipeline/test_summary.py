# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io

import numpy as np
import pytest

from helmet_agent.app.progress import Progress
from helmet_agent.app.summary import Summary, align, kept
from helmet_agent.bench.pairs import Cost, cost_of, interleave, median_ratio
from helmet_agent.contract import ComplianceEvent, Detection, FrameReport
from helmet_agent.ports import Frame
from helmet_agent.services.latency import WINDOW, LatencyWindow
from helmet_agent.services.pipeline import ProcessedFrame
from helmet_agent.testing import ManualClock
from helmet_agent.vision.tracks import TrackUpdate

PICTURE = np.zeros((4, 4, 3), np.uint8)


def processed(
    source: str, *labels: str, hard: bool = False, events: tuple[ComplianceEvent, ...] = ()
) -> ProcessedFrame:
    found = tuple(Detection(label, 0.5, (0.0, 0.0, 1.0, 1.0)) for label in labels)
    report = FrameReport(source, 0, 4, 4, "0" * 64, hard, found)
    return ProcessedFrame(source, Frame(source, 0, 1.0, 0.0, PICTURE), report, TrackUpdate(()), events, 0.01, 0.02)


def test_the_table_counts_what_was_seen_by_source_and_label() -> None:
    summary = Summary()
    started = ComplianceEvent("e", "violation_started", "yard", 3, 1.0, 1, "helmet-off", 0.5, (0.0, 0.0, 1.0, 1.0))
    summary.observe(processed("gate", "person", "helmet-on"))
    summary.observe(processed("gate", "helmet-on", hard=True))
    summary.observe(processed("yard", "helmet-off", events=(started,)))
    lines = summary.table(("person", "helmet-on", "helmet-off")).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["gate", "2", "1", "2", "0", "0", "1"],
        ["yard", "1", "0", "0", "1", "1", "0"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_alignment_holds_for_wide_cells() -> None:
    assert align(("a", "b"), [("long name", "1"), ("x", "22222")]).splitlines() == [
        "a              b",
        "---------  -----",
        "long name      1",
        "x          22222",
    ]


def test_kept_names_every_cause_that_happened_and_no_other() -> None:
    assert kept({"kept": 7, "dropped.budget": 3, "dropped.queue_full": 1, "dropped.shed": 0, "hard": 11}) == (
        "7 kept; left out: 3 budget, 1 queue full"
    )
    assert kept({"kept": 7}) == "7 kept"


def test_progress_prints_now_and_then_not_for_every_frame() -> None:
    clock, stream = ManualClock(), io.StringIO()
    progress = Progress(stream, clock, expected=lambda: 200)
    for _ in range(100):
        clock.advance(0.125)
        progress.observe(processed("gate", "person"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0] == "40 frames of 200 (20%), 8 a second; gate: person 0.50"


def test_latencies_are_those_of_the_last_frames() -> None:
    window = LatencyWindow()
    assert window.summary().median_seconds == 0.0
    for _ in range(WINDOW):
        window.add(100.0)
    for number in range(1, WINDOW + 1):
        window.add(number / 1000)
    summary = window.summary()
    assert summary.count == 2 * WINDOW
    assert summary.max_seconds == pytest.approx(WINDOW / 1000)
    assert summary.median_seconds == pytest.approx(WINDOW / 2000, abs=0.001)
    assert 0.9 * WINDOW / 1000 < summary.p99_seconds <= summary.max_seconds


def test_pairs_take_turns_and_their_median_ignores_one_bad_moment() -> None:
    order: list[str] = []
    ours = iter([Cost(10, 1.0, 1.0), Cost(10, 90.0, 1.0), Cost(10, 1.0, 1.0)])

    def measure_ours() -> Cost:
        order.append("ours")
        return next(ours)

    def measure_theirs() -> Cost:
        order.append("theirs")
        return Cost(10, 2.0, 4.0)

    pairs = interleave(3, measure_ours, measure_theirs, lambda _: None)
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert median_ratio(pairs, lambda cost: cost.cpu_per_frame) == pytest.approx(0.5)
    assert median_ratio(pairs, lambda cost: cost.rate) == pytest.approx(4.0)


def test_nothing_to_measure_is_an_error_rather_than_a_figure() -> None:
    with pytest.raises(ValueError, match="no frames"):
        cost_of(lambda: 0)
