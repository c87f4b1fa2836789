# SPDX-License-Identifier: Apache-2.0
r"""Talks to the hub: HTTPS with the site's own authority, a bearer token from a file, no redirects, no proxies unasked.

::

    PUT  /v1/examples/{sha256}     application/vnd.helmet.example: the record as one line of JSON, "\\n", the JPEG
    POST /v1/nodes/{name}/report   application/json
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx

from helmet_agent.adapters.hub_http.answers import (
    MAX_ANSWER_BYTES,
    Answer,
    example_taken,
    report_taken,
    token_accepted,
)
from helmet_agent.adapters.hub_http.authority import tls_context
from helmet_agent.adapters.hub_http.token import read_token
from helmet_agent.errors import ConfigError, HubDenied, HubUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from helmet_agent.contract import HardExample, NodeReport

EXAMPLE_TYPE = "application/vnd.helmet.example"
HEAD_BYTES = 512
"""About what the head of a request and TLS add to a body; counts against the bandwidth."""

_CHUNK_BYTES = 8 << 10
_NO_PICTURE = "0" * 64
_KEPT_SECONDS = 4.0
"""Shorter than servers keep a quiet connection, so that none is used that is about to be closed."""


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Where the hub is and how to reach it.

    Attributes:
        url: ``https://host:port``, without a slash at the end.
        token_file: holds the node's token.
        ca_file: certificates of the authority that the hub's certificate comes from; None: the machine's own.
        proxy: address of an HTTP proxy; None: none, whatever the environment says.
        timeout_seconds: to connect, to send or to receive a piece, and from the end of a request to that of its answer.
    """

    url: str
    token_file: Path
    ca_file: Path | None = None
    proxy: str | None = None
    timeout_seconds: float = 30.0


class HubHttp:
    """Implements ``ports.Hub``. One connection, kept while there is work.

    Args:
        address: where the hub is.
        agent: name and version for the ``User-Agent`` header.

    Raises:
        ConfigError: the authority's file cannot be used.
    """

    def __init__(self, address: HubAddress, agent: str = "helmet-agent") -> None:
        self._address = address
        self._token: str | None = None
        self._line = _Line()
        self._client = httpx.Client(
            headers={"User-Agent": agent, "Accept": "application/json", "Accept-Encoding": "identity"},
            verify=tls_context(address.ca_file) if address.url.startswith("https") else False,
            timeout=address.timeout_seconds,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEPT_SECONDS),
            proxy=address.proxy,
            trust_env=False,
            follow_redirects=False,
        )

    def put_example(self, example: HardExample, pace: Callable[[int], None]) -> bool:
        """See ``ports.Hub``."""
        record = json.dumps(example.record.to_json(), separators=(",", ":")).encode() + b"\n"
        name = example.record.sha256
        answer = self._ask("PUT", f"/v1/examples/{name}", EXAMPLE_TYPE, (record, example.jpeg), pace)
        return example_taken(answer, name)

    def send_report(self, report: NodeReport) -> None:
        """See ``ports.Hub``."""
        body = json.dumps(report.to_json(), separators=(",", ":")).encode()
        report_taken(self._ask("POST", f"/v1/nodes/{report.node}/report", "application/json", (body,), _at_once))

    def knock(self) -> float | None:
        """Asks the hub whether it accepts the token, without leaving anything there.

        Returns:
            The hub's Unix time, in whole seconds; None when it does not say.

        Raises:
            HubError: it does not, or cannot be asked.
        """
        answer = self._ask("PUT", f"/v1/examples/{_NO_PICTURE}", EXAMPLE_TYPE, (), _at_once)
        token_accepted(answer)
        with contextlib.suppress(ValueError):
            return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        return None

    def close(self) -> None:
        """See ``ports.Hub``."""
        self._line.cut()
        self._client.close()

    def _ask(self, method: str, path: str, kind: str, parts: tuple[bytes, ...], pace: Callable[[int], None]) -> Answer:
        headers = {
            "Authorization": f"Bearer {self._bearer()}",
            "Content-Type": kind,
            "Content-Length": str(sum(map(len, parts))),
        }
        deadline = threading.Timer(self._address.timeout_seconds, self._line.cut)
        deadline.daemon = True
        try:
            answer = self._exchange(method, path, headers, _paced(parts, pace, deadline), deadline)
        except httpx.HTTPError as error:
            raise self._unavailable(error) from error
        except httpx.InvalidURL as error:
            raise HubUnavailable(f"{self._address.url}: {error}; check hub.url") from error
        finally:
            deadline.cancel()
        if answer.status in (401, 403):
            self._token = None  # the file may hold another one by the next time
        return answer

    def _exchange(
        self, method: str, path: str, headers: dict[str, str], body: Iterator[bytes], deadline: threading.Timer
    ) -> Answer:
        self._line.begin()
        extensions = {"trace": self._line.trace}
        url = self._address.url + path
        with self._client.stream(method, url, headers=headers, content=body, extensions=extensions) as response:
            if deadline.ident is None:  # answered before it had heard all
                deadline.start()
            content = bytearray()
            for piece in response.iter_raw():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise HubUnavailable(
                        f"answered {response.status_code} with more than {MAX_ANSWER_BYTES} bytes, as no hub does",
                        suspect=True,
                    )
            return Answer(response.status_code, dict(response.headers), bytes(content))

    def _bearer(self) -> str:
        if self._token is None:
            try:
                self._token = read_token(self._address.token_file)
            except ConfigError as error:
                raise HubDenied(str(error)) from error
        return self._token

    def _unavailable(self, error: httpx.HTTPError) -> HubUnavailable:
        seconds = self._address.timeout_seconds
        if self._line.was_cut or isinstance(error, httpx.ReadTimeout):
            return HubUnavailable(f"no whole answer within {seconds:g} s", suspect=True)
        if isinstance(error, httpx.ConnectTimeout):
            return HubUnavailable(f"no connection within {seconds:g} s; is the hub up, is a firewall between?")
        reason = _certificate_fault(error) or f"{error or type(error).__name__}"
        if isinstance(error, httpx.ConnectError | httpx.ProxyError):
            return HubUnavailable(f"no connection: {reason}")
        return HubUnavailable(f"the connection broke: {reason}", suspect=True)


class _Line:
    """The socket of the one connection, so that another thread can end what blocks on it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self.was_cut = False

    def begin(self) -> None:
        """A new request: forgets an earlier cut."""
        self.was_cut = False

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Notes each new socket; httpcore calls it, https://www.encode.io/httpcore/extensions/#trace."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")

    def cut(self) -> None:
        """Wakes whoever sends or receives; they see a broken connection."""
        self.was_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # The plain socket's: TLS would first take leave from a peer who may not listen.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _paced(parts: tuple[bytes, ...], pace: Callable[[int], None], deadline: threading.Timer) -> Iterator[bytes]:
    """The body in small pieces, each when there is bandwidth for it; the answer's time begins at the end."""
    pace(HEAD_BYTES)
    for part in parts:
        for start in range(0, len(part), _CHUNK_BYTES):
            piece = part[start : start + _CHUNK_BYTES]
            pace(len(piece))
            yield piece
    deadline.start()


def _at_once(_count: int) -> None:
    """The pace of what is too small to count."""


def _certificate_fault(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the hub's certificate is not accepted ({error.verify_message}); check hub.ca_file and hub.url"
        error = error.__cause__ or error.__context__
    return ""
