# SPDX-License-Identifier: Apache-2.0
"""Readiness and the watchdog, against a real datagram socket."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.systemd import Notifier, Watchdog, stuck_stages, watchdog_interval

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Manager:
    """Plays the service manager: listens where NOTIFY_SOCKET says."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(5)

    def next(self) -> list[str]:
        return self._socket.recv(4096).decode().splitlines()

    def silent(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = f"@helmet-{uuid.uuid4()}" if request.param == "abstract" else str(tmp_path / "notify")
    found = Manager(address)
    yield found
    found.close()


def test_every_state_reaches_the_manager(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    assert notifier.listening
    assert notifier.ready("3 sources")
    assert manager.next() == ["READY=1", "STATUS=3 sources"]
    assert notifier.reloading()
    lines = manager.next()
    assert lines[0] == "RELOADING=1"
    assert int(lines[1].removeprefix("MONOTONIC_USEC=")) > 0
    assert notifier.status("two\nlines\tof text")
    assert manager.next() == ["STATUS=two lines of text"]
    assert notifier.watchdog()
    assert manager.next() == ["WATCHDOG=1"]
    assert notifier.stopping()
    assert manager.next() == ["STOPPING=1"]


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative", "/nowhere/at/all", "/" + "x" * 300, "@" + "x" * 300])
def test_without_a_manager_nothing_happens(address: str) -> None:
    assert not Notifier({"NOTIFY_SOCKET": address}).ready("here")
    assert not Notifier({}).listening


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "42"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
    ],
)
def test_the_interval_is_read_from_the_environment(environ: dict[str, str], expected: float | None) -> None:
    assert watchdog_interval(environ, pid=42) == expected


def test_the_interval_is_this_process_s_own() -> None:
    assert watchdog_interval({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}) == 1.0


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.floats()), st.floats(0, 1e6))
def test_a_stage_is_stuck_unless_its_beat_is_fresh(ages: dict[str, float], limit: float) -> None:
    stuck = stuck_stages(ages, limit)
    assert all((name in stuck) != (age <= limit) for name, age in ages.items())


def test_it_beats_only_while_every_stage_turns(manager: Manager) -> None:
    ages = {"inference": 0.1, "source gate": 4.9}
    watchdog = Watchdog(lambda: ages, 5.0, Notifier(manager.environ), None)
    assert watchdog.check()
    assert manager.next() == ["WATCHDOG=1"]
    ages["source gate"] = 5.1
    assert not watchdog.check()
    assert watchdog.stuck == ("source gate",)
    assert manager.silent()
    ages["source gate"] = 0.0
    assert watchdog.check()
    assert not watchdog.stuck


def test_it_does_not_beat_when_the_stages_cannot_be_looked_at(manager: Manager) -> None:
    def broken() -> dict[str, float]:
        raise RuntimeError("no answer")

    assert not Watchdog(broken, 5.0, Notifier(manager.environ), None).check()
    assert manager.silent()


def test_it_goes_on_beating_until_it_is_stopped(manager: Manager) -> None:
    watchdog = Watchdog(dict, 5.0, Notifier(manager.environ), 0.02)
    watchdog.start()
    assert [manager.next() for _ in range(3)] == [["WATCHDOG=1"]] * 3
    watchdog.stop()
    assert all(thread.name != "watchdog" for thread in threading.enumerate())


def test_it_starts_no_thread_where_nobody_wants_beats() -> None:
    watchdog = Watchdog(dict, 5.0, Notifier({}), None)
    watchdog.start()
    watchdog.stop()
    assert all(thread.name != "watchdog" for thread in threading.enumerate())
