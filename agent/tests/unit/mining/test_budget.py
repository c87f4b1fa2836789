# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.vision.mining import HourlyBudget, RuleBudgets
from helmet_agent.vision.mining.budget import TokenBucket

HOUR = 3600.0


@given(
    per_hour=st.integers(0, 20),
    burst=st.none() | st.integers(1, 25),
    gaps=st.lists(st.floats(0.0, 900.0) | st.floats(0.0, 1.0), max_size=300),
)
@settings(deadline=None)
def test_no_hour_ever_sees_more_than_its_budget(per_hour: int, burst: int | None, gaps: list[float]) -> None:
    bucket = TokenBucket(HourlyBudget(per_hour, burst))
    now, taken = 0.0, []
    for gap in gaps:
        now += gap
        if bucket.take(now):
            taken.append(now)
    for index, start in enumerate(taken):
        assert sum(time < start + HOUR for time in taken[index:]) <= per_hour
        assert sum(time == start for time in taken[index:]) <= (burst or max(1, per_hour // 6))


@pytest.mark.parametrize(("per_hour", "burst"), [(1, 1), (60, 1), (60, 10), (60, 60), (60, None), (5, 9), (5, None)])
def test_who_always_asks_gets_the_burst_and_then_the_steady_rate(per_hour: int, burst: int | None) -> None:
    bucket = TokenBucket(HourlyBudget(per_hour, burst))
    taken = [second for second in range(10 * 3600) if bucket.take(float(second))]
    burst = min(burst or max(1, per_hour // 6), per_hour)
    expected = burst + 10 * (per_hour - burst + 1)
    assert expected * 0.97 - 2 <= len(taken) <= expected


@pytest.mark.parametrize("per_hour", [1, 7, 60, 1000])
def test_the_next_one_comes_no_moment_too_early(per_hour: int) -> None:
    bucket = TokenBucket(HourlyBudget(per_hour, 1))
    assert bucket.take(0.0)
    assert not bucket.take(HOUR / per_hour)
    assert bucket.take(HOUR / per_hour * (1 + 1e-6))


def test_a_budget_of_nothing_allows_nothing() -> None:
    bucket = TokenBucket(HourlyBudget(0))
    assert not any(bucket.take(second * 60.0) for second in range(600))


def test_a_clock_that_starts_anywhere_or_steps_back_gives_nothing_away() -> None:
    for start in (0.0, -5000.0, 1e9):
        bucket = TokenBucket(HourlyBudget(2, 2))
        assert [bucket.take(start) for _ in range(3)] == [True, True, False]
        assert not bucket.take(start - 10 * HOUR)
        assert not bucket.take(start)
        assert bucket.take(start + HOUR + 1.0)


@pytest.mark.parametrize(("per_hour", "burst", "name"), [(-1, 1, "per_hour"), (5, 0, "burst")])
def test_limits_that_cannot_be_are_refused_by_name(per_hour: int, burst: int | None, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        HourlyBudget(per_hour, burst)


def test_each_rule_has_a_budget_of_its_own() -> None:
    budgets = RuleBudgets(HourlyBudget(2, 2), {"IBT": HourlyBudget(1, 1)})
    assert [budgets.spend("IBT", 0.0) for _ in range(2)] == [True, False]
    assert [budgets.spend("TrackLost", 0.0) for _ in range(3)] == [True, True, False]
    assert budgets.spend("LabelFlip", 0.0)


def test_asking_spends_nothing() -> None:
    budgets = RuleBudgets(HourlyBudget(1, 1))
    assert all(budgets.available("IBT", 0.0) for _ in range(3))
    assert budgets.spend("IBT", 0.0)
    assert not budgets.available("IBT", 0.0)
    assert budgets.available("IBT", HOUR + 1.0)
