# SPDX-License-Identifier: Apache-2.0
"""Runs the HTTP interface on a thread of its own and stops it at once, whoever is connected."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import structlog
import uvicorn

from helmet_agent.errors import AgentError

if TYPE_CHECKING:
    from fastapi import FastAPI

_log = structlog.get_logger(__name__)
_START_SECONDS = 10.0
_GRACE_SECONDS = 0.3
_STOP_SECONDS = 0.9
_MOST_CONNECTIONS = 64


class ApiServer:
    """Serves an application made by ``create_api``.

    Args:
        app: the application.
        host: name or address to listen at, IPv6 without brackets.
        port: 0 for any free one.

    Raises:
        AgentError: the address cannot be listened at, with the reason.
    """

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._app = app
        self._socket = _bind(host, port)
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
            limit_concurrency=_MOST_CONNECTIONS,
        )
        config.timeout_graceful_shutdown = _GRACE_SECONDS  # type: ignore[assignment]  # any number works, typed as int
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened at."""
        return int(self._socket.getsockname()[1]) if self._socket.fileno() >= 0 else 0

    def start(self) -> None:
        """Begins to answer; returns when it does.

        Raises:
            AgentError: it does not come up.
        """
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise AgentError("the node API does not start; the log says why")
            time.sleep(0.005)

    def stop(self) -> bool:
        """Ends every answer, the long ones too, and closes the port; False when it did not end within a second."""
        self._app.state.gate.close()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        self._socket.close()
        return self._thread is None or not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception as error:
            _log.error("the node API failed", reason=str(error))


def _bind(host: str, port: int) -> socket.socket:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except socket.gaierror as error:
        reason = error.strerror or str(error)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno == errno.EADDRINUSE:
            reason += ", perhaps by another agent"
    raise AgentError(f"the node API cannot listen at {shown}: {reason}; change api.listen, or set api.enabled = false")
