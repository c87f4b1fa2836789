# SPDX-License-Identifier: Apache-2.0
"""How a worker tells Sedna's endpoint what became of it: five tries, three seconds apart, as Sedna's library does."""

from __future__ import annotations

import http.client
import json
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from helmet_agent.errors import AgentError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_SERVER = "http://localhost:9100"
OWNER_KIND = "incrementallearningjob"
TRIES, WAIT_SECONDS, TIMEOUT_SECONDS = 5, 3.0, 10.0
PROGRESS_TIMEOUT_SECONDS = 2.0
PROGRESS_EVERY_SECONDS = 2.0

_OK, _TOO_MANY, _CLIENT, _SERVER = 200, 429, 400, 500


class ReportLost(AgentError):  # noqa: N818 - the state of the report
    """Nobody took the report."""


class Reporter:
    """Reports of one worker.

    Args:
        environment: with ``LC_SERVER``, ``WORKER_NAME``, ``NAMESPACE`` and ``JOB_NAME``.
        kind: ``train`` or ``eval``.
        sleep: waits between tries.
        monotonic: seconds since some moment.

    Raises:
        ConfigError: ``LC_SERVER`` is no http address.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        kind: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        server = environment.get("LC_SERVER") or DEFAULT_SERVER
        parts = urlsplit(server)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigError(f"LC_SERVER: expected an http address such as {DEFAULT_SERVER}, found {server!r}")
        self._host, self._port = parts.hostname, parts.port or 80
        self._name = environment.get("WORKER_NAME", "")
        self._path = f"{parts.path.rstrip('/')}/sedna/workers/{quote(self._name, safe='')}/info"
        self._common = {
            "name": self._name,
            "namespace": environment.get("NAMESPACE", "default"),
            "ownerName": environment.get("JOB_NAME", ""),
            "ownerKind": OWNER_KIND,
            "kind": kind,
        }
        self._sleep = sleep
        self._monotonic = monotonic
        self._next_progress = 0.0

    def finish(self, status: str, results: Sequence[Mapping[str, Any]], info: Mapping[str, Any] | None = None) -> None:
        """The last word: ``completed`` or ``failed``.

        Raises:
            ReportLost: refused, or nobody answered five times.
        """
        reason = ""
        for attempt in range(TRIES):
            if attempt:
                self._sleep(WAIT_SECONDS)
            try:
                code, reason = self._post(status, results, info or {}, TIMEOUT_SECONDS)
            except (OSError, http.client.HTTPException) as error:
                reason = str(error)
                continue
            if code == _OK:
                return
            if _CLIENT <= code < _SERVER and code != _TOO_MANY:
                raise ReportLost(f"the report was refused: {reason}")
        raise ReportLost(f"no report reached http://{self._host}:{self._port} in {TRIES} tries: {reason}")

    def progress(self, stage: str, step: int, of: int, **more: float) -> None:
        """Says how far it is, at most every two seconds; when nobody listens the work goes on."""
        now = self._monotonic()
        if now < self._next_progress:
            return
        self._next_progress = now + PROGRESS_EVERY_SECONDS
        try:
            self._post("running", [], {"stage": stage, "step": step, "of": of, **more}, PROGRESS_TIMEOUT_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            print(f"progress was not reported: {error}", file=sys.stderr)  # noqa: T201 - the worker's log

    def _post(
        self, status: str, results: Sequence[Mapping[str, Any]], info: Mapping[str, Any], timeout: float
    ) -> tuple[int, str]:
        body = self._common | {"status": status, "results": list(results), "ownerInfo": dict(info)}
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            content = json.dumps(body, allow_nan=False).encode()
            connection.request("POST", self._path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read(4096).decode(errors="replace")
        finally:
            connection.close()
        return answer.status, f"{answer.status} {text}"
