# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.core.windows import MINUTES_A_DAY, Window, minute_of_day

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
MINUTES = st.integers(0, MINUTES_A_DAY - 1)
MOMENTS = st.floats(0.0, 4e9)


def at(text: str, zone: ZoneInfo = UTC, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def window(start: str, end: str, zone: ZoneInfo = UTC) -> Window:
    return Window(minute_of_day(start), minute_of_day(end), zone)


def test_both_ends_belong_to_the_window() -> None:
    seeds = window("02:00", "20:00")
    assert at("2026-01-31T01:59:59.999") not in seeds
    assert at("2026-01-31T02:00:00") in seeds
    assert at("2026-01-31T20:00:59") in seeds
    assert at("2026-01-31T20:01:00") not in seeds


def test_a_time_without_its_zero_is_the_same_time() -> None:
    assert window("2:00", "20:00") == window("02:00", "20:00")
    assert at("2026-01-31T10:00:00") in window("2:00", "20:00")
    assert at("2026-01-31T03:00:00") in window("2:00", "4:00")


def test_a_window_wraps_midnight() -> None:
    night = window("22:00", "04:00")
    assert [at(f"2026-01-31T{hour:02d}:30:00") in night for hour in (21, 22, 23, 0, 3, 4, 12)] == [
        False,
        True,
        True,
        True,
        True,
        False,
        False,
    ]


def test_the_zone_is_the_jobs_not_the_machines() -> None:
    assert at("2026-07-01T00:30:00") in window("02:00", "03:00", BERLIN)
    assert at("2026-01-01T00:30:00") not in window("02:00", "03:00", BERLIN)


def test_the_hour_that_is_skipped_in_spring_opens_nothing() -> None:
    skipped = window("02:10", "02:50", BERLIN)
    midnight = at("2026-03-29T00:00:00", BERLIN)
    assert not any(midnight + 60 * minute in skipped for minute in range(23 * 60))
    wide = window("01:30", "03:30", BERLIN)
    assert sum(midnight + 60 * minute in wide for minute in range(23 * 60)) == 61


def test_the_hour_that_comes_twice_in_autumn_counts_twice() -> None:
    twice = window("02:10", "02:50", BERLIN)
    assert at("2026-10-25T02:30:00", BERLIN, fold=0) in twice
    assert at("2026-10-25T02:30:00", BERLIN, fold=1) in twice
    assert at("2026-10-25T02:30:00", BERLIN, fold=1) - at("2026-10-25T02:30:00", BERLIN, fold=0) == 3600


@given(MINUTES, MINUTES, MOMENTS)
def test_a_window_and_its_complement_share_no_minute_and_leave_none(start: int, end: int, moment: float) -> None:
    if (end + 1) % MINUTES_A_DAY == start:
        assert moment in Window(start, end, BERLIN)
    else:
        others = Window((end + 1) % MINUTES_A_DAY, (start - 1) % MINUTES_A_DAY, BERLIN)
        assert (moment in Window(start, end, BERLIN)) != (moment in others)


@given(MINUTES, MINUTES)
def test_a_day_without_a_jump_has_as_many_minutes_as_the_window(start: int, end: int) -> None:
    day = datetime(2026, 6, 1, tzinfo=BERLIN)
    found = sum((day + timedelta(minutes=minute)).timestamp() in Window(start, end, BERLIN) for minute in range(1440))
    assert found == (end - start) % MINUTES_A_DAY + 1


@pytest.mark.parametrize("text", ["24:00", "2", "02:60", "-1:00", "2:0", "02:00:00", "", "\u0662:\u0660\u0660"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time of day"):
        minute_of_day(text)


def test_a_window_has_only_minutes_of_a_day() -> None:
    with pytest.raises(ValueError, match="minute of the day"):
        Window(0, 1440, UTC)


def test_people_read_the_window_with_its_zone() -> None:
    assert str(window("2:00", "20:00", BERLIN)) == "02:00-20:00 Europe/Berlin"
