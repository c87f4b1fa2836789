# SPDX-License-Identifier: Apache-2.0
"""Which frames are looked at."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.services.pacing import FrameGate


def passed(gate: FrameGate, times: list[float], divisor: int = 1) -> list[int]:
    return [number for number, seconds in enumerate(times) if gate.refuse(number, seconds, divisor) is None]


def test_everything_passes_by_default() -> None:
    assert passed(FrameGate(), [0.0] * 5) == [0, 1, 2, 3, 4]


def test_every_nth_goes_by_the_frame_number() -> None:
    gate = FrameGate(every_nth=10)
    assert passed(gate, [n / 25 for n in range(35)]) == [0, 10, 20, 30]
    assert gate.refuse(41, 2.0) == "every_nth"


def test_a_clip_of_12_fps_capped_at_4_gives_every_third_frame() -> None:
    assert passed(FrameGate(max_fps=4), [n / 12 for n in range(12)]) == [0, 3, 6, 9]


def test_a_cap_that_is_no_divisor_keeps_the_average() -> None:
    assert len(passed(FrameGate(max_fps=10), [n / 25 for n in range(250)])) == 100


def test_jitter_does_not_halve_a_camera_that_runs_at_the_cap() -> None:
    jitter = random.Random(7)  # noqa: S311 - jitter, not security
    times = [n / 10 + jitter.uniform(-0.02, 0.02) for n in range(100)]
    assert len(passed(FrameGate(max_fps=10), times)) >= 95


@given(
    max_fps=st.floats(0.1, 60),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=200),
    start=st.floats(0, 1e6),
)
def test_no_stretch_of_time_has_more_than_the_cap_plus_one(max_fps: float, gaps: list[float], start: float) -> None:
    times, now = [], start
    for gap in gaps:
        now += gap
        times.append(now)
    taken = [times[number] for number in passed(FrameGate(max_fps=max_fps), times)]
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first <= (taken[last] - taken[first]) * max_fps + 1.26


def test_a_pause_is_not_caught_up_with() -> None:
    gate = FrameGate(max_fps=1)
    assert passed(gate, [0.0, 100.0, 100.1, 100.2, 100.9, 101.0]) == [0, 1, 4]


def test_a_source_without_time_knows_no_cap() -> None:
    gate = FrameGate(max_fps=1)
    assert [gate.refuse(number, None) for number in range(3)] == [None, None, None]


def test_the_divisor_thins_what_would_pass() -> None:
    gate = FrameGate(every_nth=2)
    assert passed(gate, [0.0] * 12, divisor=3) == [0, 6]
    assert gate.refuse(12, 0.0, 3) is None
    assert gate.refuse(14, 0.0, 3) == "shed"
    assert gate.refuse(16, 0.0, 1) is None


@pytest.mark.parametrize(("every_nth", "max_fps"), [(0, 0), (-1, 0), (1, -1), (1, float("nan"))])
def test_figures_that_make_no_sense_are_refused(every_nth: int, max_fps: float) -> None:
    with pytest.raises(ValueError, match="frame gate"):
        FrameGate(every_nth, max_fps)
