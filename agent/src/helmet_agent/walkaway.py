# SPDX-License-Identifier: Apache-2.0
"""Calls that may hang, made on a thread that can be walked away from. Standard library only."""

from __future__ import annotations

import atexit
import threading
import time
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_left: set[threading.Thread] = set()


def wait_for_left_threads(timeout_seconds: float) -> int:
    """Waits until the threads that were left have ended; how many still hang when the time is over.

    While there are any, the process should end by ``os._exit``: a thread that comes back from foreign code while Python
    shuts down would abort it.
    """
    deadline = time.monotonic() + timeout_seconds
    for thread in tuple(_left):
        thread.join(max(0.0, deadline - time.monotonic()))
        if not thread.is_alive():
            _left.discard(thread)
    return len(_left)


# Most threads that were left are only hanging up; they get the time for it.
atexit.register(wait_for_left_threads, 1.0)


class Hung(Exception):  # noqa: N818 - says what the call did
    """The call did not return in time; it may still be running."""


class WalkedAway(Exception):  # noqa: N818 - says what the caller did
    """Somebody called ``leave`` while the call was waited for, or before it."""


class WalkawayThread:
    """Runs calls one after the other on its own thread.

    Args:
        name: the thread's name.
        last: runs on the thread as its last call, after whatever it hangs in.
    """

    def __init__(self, name: str, last: Callable[[], None]) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._last = last
        self._lock = threading.Lock()
        self._waited_for: Future[Any] | None = None
        self._is_left = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T], timeout_seconds: float) -> T:
        """The result of a function that runs on the thread; what it raises is raised here.

        Raises:
            Hung: it did not return in time. WalkedAway: ``leave`` was called.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._is_left:
                raise WalkedAway
            self._waited_for = future
            self._jobs.put((function, future))
        try:
            return future.result(timeout_seconds)
        except CancelledError:
            raise WalkedAway from None
        except TimeoutError:
            if future.done():  # the function's own
                raise
            raise Hung from None

    def leave(self) -> None:
        """Returns at once; the thread ends by itself as soon as it can. Idempotent, from any thread."""
        with self._lock:
            if self._is_left:
                return
            self._is_left = True
            _left.add(self._thread)
            if self._waited_for is not None:
                self._waited_for.cancel()
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, future = job
            if future.cancelled():
                continue
            with suppress(InvalidStateError):  # cancelled meanwhile: nobody wants to know
                try:
                    future.set_result(function())
                except InvalidStateError:
                    raise
                except Exception as error:
                    future.set_exception(error)
        self._last()
        _left.discard(self._thread)
