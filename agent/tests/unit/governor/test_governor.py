# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.services.governor import STEPS, STOP, Level, MemoryGovernor, lowest_limit

LIMIT = 1000
relaxed = settings(deadline=None, derandomize=True)
# Seconds until the next look, and the usage found then.
looks = st.lists(st.tuples(st.floats(0.1, 60), st.integers(0, 949)), max_size=80)


def governor() -> MemoryGovernor:
    """Sheds from 850 on, stops from 950 on, takes back below 750."""
    return MemoryGovernor(LIMIT, shed_seconds=5, recover_seconds=30)


def levels(usages: list[int], period: float = 5.0) -> list[tuple[Level, int]]:
    governed = governor()
    decisions = [governed.decide(usage, index * period) for index, usage in enumerate(usages)]
    return [(decision.level, decision.frame_divisor) for decision in decisions]


def test_it_sheds_in_the_documented_order() -> None:
    assert levels([849, 850, 900, 900, 900, 900, 900, 900]) == [
        (Level.NORMAL, 1),
        (Level.NO_PREVIEW, 1),
        (Level.NO_MINING, 1),
        (Level.FEWER_FRAMES, 2),
        (Level.FEWER_FRAMES, 4),
        (Level.FEWER_FRAMES, 8),
        (Level.FEWER_FRAMES, 8),
        (Level.FEWER_FRAMES, 8),
    ]


def test_what_is_shed_reads_as_flags() -> None:
    assert [(step.preview, step.mining) for step in (*STEPS, STOP)] == [(True, True), (False, True)] + [
        (False, False)
    ] * 5


def test_one_step_an_interval_however_often_it_is_asked() -> None:
    governed = governor()
    steps = [governed.decide(900, second / 10).level for second in range(101)]
    assert steps.count(Level.NO_PREVIEW) == 50
    assert steps.count(Level.NO_MINING) == 50
    assert steps[100] is Level.FEWER_FRAMES


def test_it_takes_back_in_reverse_after_staying_low() -> None:
    governed = governor()
    for second in (0, 5, 10, 15):
        governed.decide(900, second)
    found = [governed.decide(700, 20 + second) for second in range(0, 121, 10)]
    assert [(decision.level, decision.frame_divisor) for decision in found] == [
        *[(Level.FEWER_FRAMES, 4)] * 3,
        *[(Level.FEWER_FRAMES, 2)] * 3,
        *[(Level.NO_MINING, 1)] * 3,
        *[(Level.NO_PREVIEW, 1)] * 3,
        (Level.NORMAL, 1),
    ]


def test_a_short_peak_into_the_band_starts_the_wait_again() -> None:
    governed = governor()
    governed.decide(900, 0)
    governed.decide(700, 10)
    governed.decide(760, 35)
    assert governed.decide(700, 41).level is Level.NO_PREVIEW
    assert governed.decide(700, 70).level is Level.NO_PREVIEW
    assert governed.decide(700, 71).level is Level.NORMAL


@relaxed
@given(looks, st.integers(950, 5000), looks)
def test_the_hard_limit_stops_from_any_level_and_for_good(
    before: list[tuple[float, int]], over: int, after: list[tuple[float, int]]
) -> None:
    governed, now = governor(), 0.0
    for wait, usage in before:
        now += wait
        assert governed.decide(usage, now).level is not Level.STOP
    assert governed.decide(over, now) == STOP
    for wait, usage in after:
        now += wait
        assert governed.decide(usage, now) == STOP
    assert governed.decision == STOP


@relaxed
@given(looks)
def test_never_a_step_is_skipped_nor_taken_on_the_wrong_side(found: list[tuple[float, int]]) -> None:
    governed, now, step, shed_at = governor(), 0.0, 0, -1e9
    for wait, usage in found:
        now += wait
        to = STEPS.index(governed.decide(usage, now))
        assert abs(to - step) <= 1
        if to > step:
            assert usage >= 850
            assert now - shed_at >= 5
            shed_at = now
        if to < step:
            assert usage < 750
        step = to


@relaxed
@given(looks, st.lists(st.tuples(st.floats(0.1, 60), st.integers(750, 849)), max_size=80))
def test_nothing_changes_inside_the_hysteresis_band(
    before: list[tuple[float, int]], band: list[tuple[float, int]]
) -> None:
    governed, now = governor(), 0.0
    for wait, usage in before:
        now += wait
        governed.decide(usage, now)
    settled = governed.decision
    for wait, usage in band:
        now += wait
        assert governed.decide(usage, now) == settled


@relaxed
@given(looks)
def test_it_always_finds_back_to_normal(found: list[tuple[float, int]]) -> None:
    governed, now = governor(), 0.0
    for wait, usage in found:
        now += wait
        governed.decide(usage, now)
    for _ in range(len(STEPS)):
        governed.decide(100, now)
        now += 30
    assert governed.decide(100, now) == STEPS[0]


@pytest.mark.parametrize(
    ("limit", "soft", "hard", "band"),
    [(0, 0.85, 0.95, 0.1), (1, 0.95, 0.85, 0.1), (1, 0.1, 0.95, 0.1), (1, 0.85, 1.1, 0.1), (1, 0.85, 0.95, 0.0)],
)
def test_limits_that_cannot_be_right_are_refused(limit: int, soft: float, hard: float, band: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <"):
        MemoryGovernor(limit, soft, hard, hysteresis_fraction=band)


@pytest.mark.parametrize(
    ("configured", "group", "physical", "expected"), [(None, None, 9, 9), (5, None, 9, 5), (5, 4, 9, 4), (20, 15, 9, 9)]
)
def test_the_lowest_limit_counts(configured: int | None, group: int | None, physical: int, expected: int) -> None:
    assert lowest_limit(configured, group, physical) == expected
