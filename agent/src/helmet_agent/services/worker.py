# SPDX-License-Identifier: Apache-2.0
"""One thread behind one bounded queue: the shape of every stage that may be slow."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")
_log = structlog.get_logger(__name__)


class BoundedWorker(Generic[Item]):
    """Hands items to ``handle`` on a thread of its own.

    Args:
        name: of the thread and in the log.
        handle: does the work; what it raises is counted and logged, the next item is tried.
        size: how many items may wait.
        blocking: when the queue is full, wait (files, where nothing may be lost) instead of dropping (live sources).
    """

    def __init__(self, name: str, handle: Callable[[Item], None], *, size: int, blocking: bool) -> None:
        self._name = name
        self._handle = handle
        self._blocking = blocking
        self._queue: queue.Queue[Item | None] = queue.Queue(size)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._failing = False
        self._busy_since: float | None = None
        self.dropped = 0
        self.failed = 0
        self.done = 0
        self._thread.start()

    def submit(self, item: Item) -> bool:
        """Queues an item; False when it was dropped because the queue is full."""
        if self._blocking:
            self._queue.put(item)
            return True
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def busy_seconds(self) -> float:
        """For how long it has been at its present item; 0.0 when it waits for one."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self, timeout: float) -> bool:
        """Works off what is queued, at most ``timeout`` seconds; False when something was left."""
        deadline = time.monotonic() + timeout
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return False
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._busy_since = time.monotonic()
            try:
                self._handle(item)
            except Exception as error:
                self.failed += 1
                if not self._failing:
                    _log.error("a stage failed; it goes on with the next item", stage=self._name, reason=str(error))
                self._failing = True
            else:
                self.done += 1
                if self._failing:
                    _log.info("a stage works again", stage=self._name)
                self._failing = False
            finally:
                self._busy_since = None
