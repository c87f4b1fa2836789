# SPDX-License-Identifier: Apache-2.0
"""One live listener to events: a bounded queue that loses the oldest when its reader is slow."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.contract import ComplianceEvent


class Subscription:
    """Events from the moment of subscribing on; made by ``EventWriter.subscribe``. Thread-safe.

    Args:
        size: events that wait at most; beyond it the oldest is lost and counted.
        leave: called once when the subscription is closed.
    """

    def __init__(self, size: int, leave: Callable[[Subscription], None]) -> None:
        self._waiting: deque[ComplianceEvent] = deque()
        self._size = size
        self._leave = leave
        self._changed = threading.Condition()
        self._lost = 0
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether no further events will come: ``get`` may still have some."""
        return self._closed

    def get(self, timeout_seconds: float | None = None) -> ComplianceEvent | None:
        """The next event; None after the time-out, or at once when it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout_seconds)
            return self._waiting.popleft() if self._waiting else None

    def take_lost(self) -> int:
        """How many events were lost since the last call: to be told to the listener before the next event."""
        with self._changed:
            lost, self._lost = self._lost, 0
            return lost

    def offer(self, event: ComplianceEvent) -> bool:
        """Hands an event over without ever waiting; False when an older one was lost for it."""
        with self._changed:
            fits = len(self._waiting) < self._size
            if not fits:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(event)
            self._changed.notify()
            return fits

    def close(self) -> None:
        """Ends it and wakes its reader; idempotent."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._leave(self)
