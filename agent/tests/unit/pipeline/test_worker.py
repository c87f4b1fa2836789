# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

from helmet_agent.services.worker import BoundedWorker


def test_everything_queued_is_worked_off_before_close_returns() -> None:
    done: list[int] = []
    worker: BoundedWorker[int] = BoundedWorker("test", done.append, size=4, blocking=True)
    for number in range(50):
        assert worker.submit(number)
    assert worker.close(timeout=5.0)
    assert done == list(range(50))
    assert (worker.done, worker.dropped) == (50, 0)


def test_a_full_queue_drops_and_counts_instead_of_waiting() -> None:
    gate = threading.Event()
    started = threading.Event()

    def handle(_: int) -> None:
        started.set()
        gate.wait(5.0)

    worker: BoundedWorker[int] = BoundedWorker("test", handle, size=2, blocking=False)
    assert worker.submit(0)
    assert started.wait(5.0)
    assert [worker.submit(number) for number in range(4)] == [True, True, False, False]
    gate.set()
    assert worker.close(timeout=5.0)
    assert (worker.done, worker.dropped) == (3, 2)


def test_a_failing_item_does_not_end_the_stage() -> None:
    done: list[int] = []

    def handle(number: int) -> None:
        if number % 2:
            raise OSError("odd")
        done.append(number)

    worker: BoundedWorker[int] = BoundedWorker("test", handle, size=8, blocking=True)
    for number in range(6):
        worker.submit(number)
    assert worker.close(timeout=5.0)
    assert done == [0, 2, 4]
    assert worker.failed == 3


def test_close_gives_up_on_a_stage_that_hangs() -> None:
    gate = threading.Event()
    worker: BoundedWorker[int] = BoundedWorker("test", lambda _: gate.wait(10.0) and None, size=1, blocking=False)
    worker.submit(1)
    assert not worker.close(timeout=0.05)
    gate.set()
