# SPDX-License-Identifier: Apache-2.0
"""Runs an ASGI application on a thread of its own, with or without TLS, and stops it whoever is connected."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import threading
import time
from asyncio import sslproto
from typing import TYPE_CHECKING

import structlog
import uvicorn

from helmet_agent.errors import AgentError
from helmet_cloud.api.connections import ConnectionLimits, Connections, Listening
from helmet_cloud.settings import split_address

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp

_log = structlog.get_logger(__name__)
_START_SECONDS = 10.0
_GRACE_SECONDS = 0.5
_STOP_SECONDS = 1.5
_BACKLOG = 1024
RECEIVE_BYTES = 16 << 10
KEEP_ALIVE_SECONDS = 75
"""Longer than nodes usually wait between two polls, so that they need no new handshake."""

UNLIMITED = ConnectionLimits()


class WebServer:
    """Takes an address at once, and serves an application there from ``start`` on.

    Args:
        listen: ``ADDRESS:PORT``; port 0 takes a free one.
        key: of ``hub.toml`` that said so, for messages.
        tls: certificate and key; None: plain HTTP.
        limits: of its connections.

    Raises:
        AgentError: the address cannot be listened at, with the reason.
    """

    def __init__(
        self, listen: str, key: str, tls: ssl.SSLContext | None = None, limits: ConnectionLimits = UNLIMITED
    ) -> None:
        self._key = key
        self._tls = tls
        self._connections = Connections(limits)
        self._socket = Listening(_bind(listen, key), self._connections)
        self._address: tuple[str, int] = self._socket.getsockname()[:2]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """``ADDRESS:PORT`` that is listened at."""
        host, port = self._address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def port(self) -> int:
        """The port that is listened at."""
        return self._address[1]

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, app: ASGIApp) -> None:
        """Begins to answer; returns when it does.

        Raises:
            AgentError: it does not come up.
        """
        server = self._server = uvicorn.Server(self._config(self._connections.watched(app)))
        self._thread = threading.Thread(target=self._run, args=(server,), name=self._key, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise AgentError(f"the server for {self._key} does not start; the log says why")
            time.sleep(0.005)

    def ask_to_stop(self) -> None:
        """Takes no new requests; returns at once."""
        if self._server is not None:
            self._server.should_exit = True

    def stop(self) -> bool:
        """Ends every answer, the long ones too, and closes the port; False when it did not end in time."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        self._socket.close()
        return not self.alive

    def _config(self, app: ASGIApp) -> uvicorn.Config:
        tls = self._tls
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        config.timeout_graceful_shutdown = _GRACE_SECONDS  # type: ignore[assignment]  # any number works, typed as int
        return config

    def _run(self, server: uvicorn.Server) -> None:
        try:
            asyncio.run(self._serve(server))
        except Exception as error:
            _log.error("a server failed", listen=self._key, reason=str(error))

    async def _serve(self, server: uvicorn.Server) -> None:
        sweeping = asyncio.create_task(self._connections.sweep_for_ever())
        try:
            await server.serve(sockets=[self._socket])
        finally:
            sweeping.cancel()


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and later with that certificate.

    Raises:
        AgentError: they are not there, cannot be read, or do not belong together.
    """
    # asyncio fills a receive buffer of 256 KiB for every TLS connection: 280 MiB for a thousand nodes that poll. One
    # TLS record holds 16 KiB at most (RFC 8446, 5.1).
    sslproto.SSLProtocol.max_size = RECEIVE_BYTES
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Loads a certificate; connections made from now on get it.

    Raises:
        AgentError: as ``server_tls``.
    """
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise AgentError(f"{certificate} and {key} are no pair: {error.reason or error}") from error
    except OSError as error:
        raise AgentError(
            f"{certificate}: {error.strerror or error}; run `helmet-cloud init` again to make it"
        ) from error


def _bind(listen: str, key: str) -> socket.socket:
    host, port = split_address(listen)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno == errno.EADDRINUSE:
            reason += ", perhaps by another hub"
    else:
        # Connections inherit it. Without it every answer in two writes waits 40 ms for a delayed acknowledgement, and
        # asyncio only sets it by itself on sockets that were made with an explicit protocol number.
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found
    raise AgentError(f"the hub cannot listen at {listen}: {reason}; change {key} in hub.toml")
