# SPDX-License-Identifier: Apache-2.0
"""Where readers leave frames for the one consumer: a lane for each source, taken in turn."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Several senders, one receiver, who serves the lanes that hold something in turn.

    A lane is used in one of two ways: ``post`` keeps the latest item only and never waits (live sources);
    ``hand_over`` waits until there is room and loses nothing (files).

    Args:
        lanes: how many senders there are.
        room: how many items a lane holds for ``hand_over``.
    """

    def __init__(self, lanes: int, room: int = 2) -> None:
        self._lanes: list[deque[T]] = [deque() for _ in range(lanes)]
        self._finished = [False] * lanes
        self._room = room
        self._next = 0
        self._waiting = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def waiting(self) -> bool:
        """Whether the receiver is idle right now."""
        return self._waiting > 0

    @property
    def finished(self) -> bool:
        """Whether every lane was finished by its sender and is empty."""
        with self._changed:
            return self._all_over()

    def post(self, lane: int, item: T) -> T | None:
        """Leaves an item in place of one that was not taken yet, which is returned."""
        with self._changed:
            if self._closed:
                return item
            queue = self._lanes[lane]
            replaced = queue.popleft() if queue else None
            queue.append(item)
            self._changed.notify_all()
            return replaced

    def hand_over(self, lane: int, item: T, timeout_seconds: float) -> bool:
        """Leaves an item as soon as there is room; False when there was none in time or the box is closed."""
        with self._changed:
            queue = self._lanes[lane]
            self._changed.wait_for(lambda: self._closed or len(queue) < self._room, timeout_seconds)
            if self._closed or len(queue) >= self._room:
                return False
            queue.append(item)
            self._changed.notify_all()
            return True

    def finish(self, lane: int) -> None:
        """Nothing will come in this lane any more; what lies there can still be taken."""
        with self._changed:
            self._finished[lane] = True
            self._changed.notify_all()

    def take(self, timeout_seconds: float) -> tuple[int, T] | None:
        """The next item and its lane; None after the time-out, and at once when nothing can come any more."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while True:
                if (found := self._pop()) is not None:
                    self._changed.notify_all()
                    return found
                rest = deadline - time.monotonic()
                if rest <= 0 or self._closed or self._all_over():
                    return None
                self._waiting += 1
                try:
                    self._changed.wait(rest)
                finally:
                    self._waiting -= 1

    def close(self) -> None:
        """Wakes everybody; what was not taken is thrown away."""
        with self._changed:
            self._closed = True
            for queue in self._lanes:
                queue.clear()
            self._changed.notify_all()

    def _pop(self) -> tuple[int, T] | None:
        count = len(self._lanes)
        for step in range(count):
            lane = (self._next + step) % count
            if self._lanes[lane]:
                self._next = (lane + 1) % count
                return lane, self._lanes[lane].popleft()
        return None

    def _all_over(self) -> bool:
        return all(self._finished) and not any(self._lanes)
