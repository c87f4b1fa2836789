# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from helmet_cloud.housekeeping import Chore, Housekeeping
from helmet_cloud.service_manager import ServiceManager

if TYPE_CHECKING:
    from pathlib import Path


def _fails() -> None:
    raise RuntimeError("no disk")


def test_chores_are_done_once_a_period() -> None:
    time, done = 0.0, []
    keeper = Housekeeping(
        [Chore("often", 10.0, lambda: done.append("often")), Chore("rarely", 25.0, lambda: done.append("rarely"))],
        lambda: time,
    )
    for time in range(31):  # noqa: B007 - the clock
        keeper.turn()
    assert done == ["often", "often", "rarely", "often"]


def test_a_chore_may_be_due_at_the_start() -> None:
    time, done = 0.0, []
    keeper = Housekeeping([Chore("first", 10.0, lambda: done.append(time), at_start=True)], lambda: time)
    for time in range(12):  # noqa: B007 - the clock
        keeper.turn()
    assert done == [0, 10]


def test_a_chore_that_fails_is_counted_and_tried_again_and_holds_nobody_up() -> None:
    times, done = iter(range(1000)), []
    keeper = Housekeeping([Chore("bad", 1.0, _fails), Chore("good", 1.0, lambda: done.append(1))], lambda: next(times))
    keeper.turn()
    keeper.turn()
    assert keeper.failures == {"bad": 2, "good": 0}
    assert done == [1, 1]


def test_standing_still_can_be_seen() -> None:
    time = 0.0
    keeper = Housekeeping([], lambda: time)
    keeper.turn()
    time = 200.0
    assert keeper.age_seconds == 200.0


def test_it_stops_when_told() -> None:
    keeper = Housekeeping([])
    keeper.start()
    keeper.stop()
    assert not keeper._thread.is_alive()


def test_messages_reach_the_socket_that_systemd_names(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5.0)
        ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")}).tell("READY=1", "STATUS=well")
        assert manager.recv(4096) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "@" + "x" * 300}])
def test_a_manager_that_is_not_there_disturbs_nobody(environ: dict[str, str]) -> None:
    assert ServiceManager(environ).tell("READY=1") is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "x"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdog_period_is_read(environ: dict[str, str], seconds: float | None) -> None:
    assert ServiceManager(environ).watchdog_seconds == seconds
