# SPDX-License-Identifier: Apache-2.0
"""The socket below an HTTP client's connection, so that a server which drips or stands still holds nobody up."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from helmet_agent.errors import UpdateError

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOWEST_BYTES_PER_SECOND = 128
"""A body that comes more slowly, on the average of one time-out, is given up; what came of it is kept."""


class Line:
    """The socket of the one connection. Another thread may ``cut`` it, or ``end`` it for good.

    Args:
        seconds: from a request to the end of its answer's head, and over which the speed of a body is judged.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self.was_cut = False
        self.ended = False

    @contextlib.contextmanager
    def deadline(self) -> Iterator[threading.Timer]:
        """A request: it is cut when nobody cancels the timer in time."""
        self.was_cut = False
        timer = threading.Timer(self._seconds, self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield timer
        finally:
            timer.cancel()

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Notes each new socket; httpcore calls it, https://www.encode.io/httpcore/extensions/#trace."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.ended:
                self.cut()

    def cut(self) -> None:
        """Wakes whoever waits for bytes; they see a broken connection."""
        self.was_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # The plain socket's: TLS would first take leave from a peer who may not listen.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def end(self) -> None:
        """Cuts it, and every later one as soon as it is there."""
        self.ended = True
        self.cut()

    def steady(self, chunks: Iterator[bytes], url: str) -> Iterator[bytes]:
        """The same chunks, as long as they come fast enough.

        Raises:
            UpdateError: they do not.
        """
        begin, count = time.monotonic(), 0
        for chunk in chunks:
            yield chunk
            count += len(chunk)
            now = time.monotonic()
            if now - begin > self._seconds:
                if count < SLOWEST_BYTES_PER_SECOND * (now - begin):
                    raise UpdateError(f"{url}: brings fewer than {SLOWEST_BYTES_PER_SECOND} bytes a second")
                begin, count = now, 0
