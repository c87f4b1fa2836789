# SPDX-License-Identifier: Apache-2.0
"""Tells Sedna's local controller what became of a model: ``POST {LC_SERVER}/sedna/workers/{worker}/info``."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from helmet_agent.errors import ConfigError, RefusedError, UpdateError

DEFAULT_SERVER = "http://localhost:9100"
OWNER_KIND = "incrementallearningjob"
TIMEOUT_SECONDS = 10.0
_OK, _CLIENT, _SERVER, _TOO_MANY = 200, 400, 500, 429


@dataclass(frozen=True, slots=True)
class WorkerName:
    """Who speaks: the worker's name, its namespace and its job's name, as Sedna gave them."""

    name: str
    namespace: str
    job: str


class LocalController:
    """The controller of this node; plain HTTP without authentication, which is all that Sedna has.

    Args:
        server: its address, ``LC_SERVER``.
        worker: who speaks.
        timeout_seconds: for one attempt.

    Raises:
        ConfigError: no http address.
    """

    def __init__(self, server: str, worker: WorkerName, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        parts = urlsplit(server)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigError(f"LC_SERVER: expected an http address such as {DEFAULT_SERVER}, found {server!r}")
        self._address = (parts.hostname, parts.port or 80)
        self._path = f"{parts.path.rstrip('/')}/sedna/workers/{quote(worker.name, safe='')}/info"
        self._worker = worker
        self._timeout = timeout_seconds

    def deployed(self, status: str, info: dict[str, str]) -> None:
        """One attempt to say ``completed`` or ``failed``.

        Raises:
            RefusedError: it does not want to hear it; the same will be refused again. UpdateError: not reached now.
        """
        body = json.dumps(
            {
                "name": self._worker.name,
                "namespace": self._worker.namespace,
                "ownerName": self._worker.job,
                "ownerKind": OWNER_KIND,
                "kind": "deploy",
                "status": status,
                "ownerInfo": info,
                "results": [],
            }
        ).encode()
        connection = http.client.HTTPConnection(*self._address, timeout=self._timeout)
        try:
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read(1024).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise UpdateError(f"Sedna's local controller {self._address[0]}:{self._address[1]}: {reason}") from error
        finally:
            connection.close()
        if answer.status == _OK:
            return
        message = f"Sedna's local controller answered {answer.status}: {' '.join(text.split())}"
        if _CLIENT <= answer.status < _SERVER and answer.status != _TOO_MANY:
            raise RefusedError(message)
        raise UpdateError(message)
