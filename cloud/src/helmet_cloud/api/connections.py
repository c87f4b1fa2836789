# SPDX-License-Identifier: Apache-2.0
"""How many connections the hub holds, and for how long one may be open without asking for anything.

Counted where they are accepted, before TLS has cost anything. A connection that has not sent the head of a request in
time is ended, whether its TLS is half done, its head comes letter by letter, or it was used before and drips now;
uvicorn itself waits for most of these for ever. A request in progress, such as a watch, is left alone: bodies have a
time limit of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from helmet_cloud.api.rates import site

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

_log = structlog.get_logger(__name__)

OTHER_FILES = 256
"""Descriptors that the hub needs beside its connections: database, pictures, workers."""

SWEEP_SECONDS = 0.5
TELL_SECONDS = 60.0

Peer = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What is taken; 0: no limit.

    Attributes:
        total: connections at a time.
        per_address: of them from one IPv4 address or one IPv6 network.
        head_seconds: from accepting one to the end of the first request's head.
        idle_seconds: from the end of an answer to the end of the next request's head.
    """

    total: int = 0
    per_address: int = 0
    head_seconds: float = 0.0
    idle_seconds: float = 0.0


class Accepted(socket.socket):
    """An accepted connection that tells when it is closed."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        """Closes it; whoever counted it is told once."""
        told, self.on_close = self.on_close, None
        super().close()
        if told is not None:
            told()


class Listening(socket.socket):
    """A listening socket that closes at once what is one too many.

    Args:
        found: the socket that listens already; it is taken over.
        connections: counts them.
    """

    def __init__(self, found: socket.socket, connections: Connections) -> None:
        super().__init__(found.family, found.type, found.proto, fileno=found.detach())
        self._connections = connections

    def accept(self) -> tuple[socket.socket, Any]:
        """One connection, as ``socket.accept``.

        Raises:
            ConnectionAbortedError: it was one too many, and is closed.
        """
        plain, address = super().accept()
        found = Accepted(plain.family, plain.type, plain.proto, fileno=plain.detach())
        if not self._connections.admit(found, (str(address[0]), int(address[1]))):
            found.close()
            raise ConnectionAbortedError
        return found, address


@dataclass(slots=True)
class _Open:
    connection: Accepted
    deadline: float
    requests: int = 0


class Connections:
    """What is open; for the thread of one event loop.

    Args:
        limits: what is taken.
        now: a clock that never goes back, in seconds.
    """

    def __init__(self, limits: ConnectionLimits, now: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._now = now
        self._open: dict[Peer, _Open] = {}
        self._sites: Counter[str] = Counter()
        self._told: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Accepted, peer: Peer) -> bool:
        """Counts a connection until it is closed; False when it is one too many."""
        limits, where = self._limits, site(peer[0])
        for count, most, what in (
            (len(self._open), limits.total, "connections"),
            (self._sites[where], limits.per_address, "address_connections"),
        ):
            if 0 < most <= count:
                self._tell(f"{count} connections are open, more are closed at once", peer=peer[0], limit=what)
                return False
        self._sites[where] += 1
        self._open[peer] = _Open(connection, self._now() + limits.head_seconds)
        connection.on_close = lambda: self._gone(connection, peer, where)
        return True

    def watched(self, app: ASGIApp) -> ASGIApp:
        """The application, with each request noted while it is answered."""

        async def watching(scope: Scope, receive: Receive, send: Send) -> None:
            found = self._open.get(tuple(scope.get("client") or ()))
            if found is None:
                await app(scope, receive, send)
                return
            found.requests += 1
            try:
                await app(scope, receive, send)
            finally:
                found.requests -= 1
                found.deadline = self._now() + self._limits.idle_seconds

        return watching

    async def sweep_for_ever(self) -> None:
        """Ends what asks for nothing, until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def sweep(self) -> int:
        """Ends what has asked for nothing for too long; returns how many that were."""
        if not self._limits.head_seconds:
            return 0
        now = self._now()
        late = [one for one in self._open.values() if not one.requests and one.deadline < now]
        for one in late:
            with contextlib.suppress(OSError):  # it is ending already
                one.connection.shutdown(socket.SHUT_RDWR)
        if late:
            self._tell(f"{len(late)} connections that asked for nothing were ended", limit="head_seconds")
        return len(late)

    def _gone(self, connection: Accepted, peer: Peer, where: str) -> None:
        # A port may be in use again before the one that had it was closed here.
        if self._open[peer].connection is connection:
            del self._open[peer]
        self._sites[where] -= 1
        if not self._sites[where]:
            del self._sites[where]

    def _tell(self, said: str, limit: str, **more: str) -> None:
        """Logs it, at most once a minute for each limit."""
        now = self._now()
        if now - self._told.get(limit, now - TELL_SECONDS) >= TELL_SECONDS:
            self._told[limit] = now
            _log.warning(said, limit=limit, **more)


def room_for(connections: int) -> int:
    """So many connections, or as many as the system lets this process have open; raises its soft limit for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = connections if soft == resource.RLIM_INFINITY else min(connections, max(1, soft - OTHER_FILES))
    if most < connections:
        _log.warning("fewer connections are taken than hub.toml says: raise LimitNOFILE= of the unit", taken=most)
    return most
