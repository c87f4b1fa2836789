# SPDX-License-Identifier: Apache-2.0
"""Clocks that are wrong: in doubt while they are, believed again when they are right, and never a reason to delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.adapters.last_time import TimeFile
from helmet_agent.app.snapshot import update_problems
from helmet_agent.services.clock_trust import AWAY_SECONDS, PROGRAM_SECONDS, ClockTrust
from helmet_agent.status import UpdateStatus
from helmet_agent.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.survive
TODAY = PROGRAM_SECONDS + 300 * 86_400.0
DAY = 86_400.0
Y1970, Y2099 = 60.0, 4_070_908_800.0


def trust(clock: ManualClock, folder: Path, synchronised: Callable[[], bool | None] = lambda: None) -> ClockTrust:
    return ClockTrust(clock, synchronised, TimeFile(folder / "last-time"))


@pytest.mark.parametrize("wrong", [Y1970, Y2099])
def test_a_start_in_another_century_is_in_doubt_until_the_clock_is_set(tmp_path: Path, wrong: float) -> None:
    clock = ManualClock(wrong)
    calendar = trust(clock, tmp_path)
    assert calendar.doubt() is not None
    assert calendar.certain() == PROGRAM_SECONDS
    clock.jump(TODAY - wrong)
    assert calendar.doubt() is None
    assert calendar.now() == calendar.certain() == TODAY


@pytest.mark.parametrize("jump", [Y1970 - TODAY, Y2099 - TODAY, -40 * DAY, 40 * DAY, -3600.0, 3600.0])
def test_a_jump_is_in_doubt_and_time_goes_on_from_what_is_known(tmp_path: Path, jump: float) -> None:
    clock = ManualClock(TODAY)
    calendar = trust(clock, tmp_path)
    assert calendar.doubt() is None
    calendar.vouch()
    clock.jump(jump)
    clock.advance(100.0)
    assert calendar.doubt() is not None
    assert calendar.certain() == TODAY + 100.0
    assert calendar.now() == max(TODAY, TODAY + jump) + 100.0
    clock.jump(-jump)
    assert calendar.doubt() is None


def test_what_was_vouched_for_survives_a_restart_and_is_no_trap(tmp_path: Path) -> None:
    calendar = trust(clock := ManualClock(TODAY), tmp_path)
    calendar.vouch()
    for wrong in (Y1970, TODAY - DAY, TODAY + AWAY_SECONDS + DAY, Y2099):
        again = trust(ManualClock(wrong), tmp_path)
        assert again.doubt() is not None
        assert again.certain() == TODAY
    clock.advance(200 * DAY)
    assert trust(clock, tmp_path).doubt() is None


def test_a_clock_that_was_only_believed_does_not_stand_in_the_way_of_the_right_one(tmp_path: Path) -> None:
    clock = ManualClock(TODAY + 200 * DAY)
    calendar = trust(clock, tmp_path)
    assert calendar.doubt() is None
    clock.jump(-200 * DAY)
    assert calendar.doubt() is not None
    assert calendar.now() == TODAY, "what is fresh today must not be held against next summer"
    calendar.vouch()
    assert calendar.doubt() is None


def test_a_time_server_ends_every_doubt_also_one_that_was_written_down(tmp_path: Path) -> None:
    (tmp_path / "last-time").write_text(f"{Y2099}\n")
    clock, kept = ManualClock(TODAY), [False]
    calendar = trust(clock, tmp_path, lambda: kept[0])
    assert calendar.doubt() is not None
    kept[0] = True
    assert calendar.doubt() is None
    assert calendar.now() == TODAY
    assert trust(clock, tmp_path).doubt() is None
    clock.jump(Y1970 - TODAY)
    assert calendar.doubt() is not None, "not even a time server makes it 1970"


@pytest.mark.parametrize("content", [b"", b"nan\n", b"inf", b"yesterday", b"\xff" * 100])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last-time").write_bytes(content)
    assert trust(ManualClock(TODAY), tmp_path).doubt() is None


@given(st.lists(st.tuples(st.sampled_from(["jump", "pass", "vouch", "restart"]), st.floats(-1e10, 1e10)), max_size=12))
def test_whatever_a_clock_does_certain_is_never_later_than_now(steps: list[tuple[str, float]]) -> None:
    class Memory:
        seconds: float | None = None

        def read(self) -> float | None:
            return self.seconds

        def write(self, seconds: float) -> None:
            self.seconds = seconds

    clock, memory = ManualClock(TODAY), Memory()
    calendar = ClockTrust(clock, lambda: None, memory)
    for what, seconds in steps:
        if what == "jump":
            clock.jump(seconds)
        elif what == "pass":
            clock.advance(abs(seconds) % (30 * DAY))
        elif what == "vouch" and clock.now() < TODAY + AWAY_SECONDS:
            calendar.vouch()
        elif what == "restart":
            calendar = ClockTrust(clock, lambda: None, memory)
        assert PROGRAM_SECONDS <= calendar.certain() <= calendar.now() or calendar.doubt() is None
        assert calendar.now() >= clock.now()


def test_a_clock_in_doubt_is_degraded_health() -> None:
    status = UpdateStatus(
        "confirmed", "default/job", "ring", 1, "a" * 64, clock_doubt="the clock has jumped 60 min ahead"
    )
    (problem,) = update_problems(status)
    assert (problem.severity.value, problem.part) == ("degraded", "clock")
    assert problem.reason.startswith("the clock has jumped 60 min ahead")
