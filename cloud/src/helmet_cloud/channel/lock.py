# SPDX-License-Identifier: Apache-2.0
"""One writer of the channel at a time, whether the serving hub or a command beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

from helmet_agent.durable import reported
from helmet_cloud.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WAIT_SECONDS = 30.0
_PAUSE_SECONDS = 0.02


class ChannelLock:
    """Held for one change; the kernel lets go of it when its holder ends, however it ends.

    Args:
        path: the lock file, outside of what is served.
        wait_seconds: how long to wait for another writer.
    """

    def __init__(self, path: Path, wait_seconds: float = _WAIT_SECONDS) -> None:
        self._path = path
        self._wait = wait_seconds
        self._threads = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds it for the block.

        Raises:
            Busy: another writer did not end in time.
            StorageError: the lock file cannot be opened.
        """
        deadline = time.monotonic() + self._wait
        if not self._threads.acquire(timeout=self._wait):
            raise self._busy()
        try:
            with reported("write", self._path):
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                while not _taken(descriptor):
                    if time.monotonic() > deadline:
                        raise self._busy()
                    time.sleep(_PAUSE_SECONDS)
                yield
            finally:
                os.close(descriptor)
        finally:
            self._threads.release()

    def _busy(self) -> Busy:
        return Busy(f"the channel is being written by another process for {self._wait:g} s ({self._path}); try again")


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
