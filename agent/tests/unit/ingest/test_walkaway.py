# SPDX-License-Identifier: Apache-2.0
"""A call that hangs can be walked away from, and its thread cleans up behind itself."""

from __future__ import annotations

import threading

import pytest

from helmet_agent.walkaway import Hung, WalkawayThread, WalkedAway, wait_for_left_threads


@pytest.fixture
def released() -> threading.Event:
    return threading.Event()


def test_results_and_errors_come_back(released: threading.Event) -> None:
    thread = WalkawayThread("t", released.set)
    assert thread.call(lambda: 42, 10) == 42
    with pytest.raises(KeyError):
        thread.call(lambda: {}["x"], 10)
    with pytest.raises(TimeoutError, match="own"):
        thread.call(lambda: (_ for _ in ()).throw(TimeoutError("own")), 10)
    assert thread.call(threading.get_ident, 10) != threading.get_ident()
    thread.leave()
    assert released.wait(10)


def test_a_call_that_takes_too_long_is_given_up(released: threading.Event) -> None:
    hang = threading.Event()
    thread = WalkawayThread("t", released.set)
    with pytest.raises(Hung):
        thread.call(lambda: hang.wait(20), 0.02)
    thread.leave()
    assert not released.is_set()
    assert wait_for_left_threads(0.02) >= 1
    hang.set()
    assert released.wait(10)


def test_leaving_wakes_whoever_waits(released: threading.Event) -> None:
    hang, inside = threading.Event(), threading.Event()
    thread = WalkawayThread("t", released.set)
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            thread.call(lambda: (inside.set(), hang.wait(20)), 20)
        except WalkedAway as error:
            outcome.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert inside.wait(10)
    thread.leave()
    thread.leave()
    waiter.join(10)
    assert len(outcome) == 1
    assert not released.is_set()  # the last call waits for the one that hangs
    hang.set()
    assert released.wait(10)
    with pytest.raises(WalkedAway):
        thread.call(lambda: 1, 1)


def test_nothing_piles_up_over_many_connections() -> None:
    before = threading.active_count()
    for _ in range(50):
        thread = WalkawayThread("t", lambda: None)
        thread.call(lambda: None, 10)
        thread.leave()
    assert wait_for_left_threads(10) == 0
    assert threading.active_count() <= before
