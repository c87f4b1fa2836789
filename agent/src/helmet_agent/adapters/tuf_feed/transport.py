# SPDX-License-Identifier: Apache-2.0
"""How the channel's files are reached: over HTTP, or in a folder that somebody carried here."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin, urlsplit

import httpx

from helmet_agent import __version__
from helmet_agent.adapters.tuf_feed.line import Line
from helmet_agent.errors import ConfigError, UpdateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK_BYTES = 64 << 10
MAX_REDIRECTS = 3
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""


class MissingError(UpdateError):
    """The channel has no such file."""


@dataclass(frozen=True, slots=True)
class Body:
    """A file on its way.

    Attributes:
        chunks: its bytes from ``start`` on. Iterating raises UpdateError when it is cut short.
        start: position of the first byte; 0 unless the rest of a file was asked for and given.
        etag: the server's name for this version of the file, if it gives one.
        unchanged: the caller has this version already; there are no chunks.
    """

    chunks: Iterator[bytes]
    start: int = 0
    etag: str | None = None
    unchanged: bool = False


class Transport(Protocol):
    """Gives the channel's files by their path, such as ``metadata/timestamp.json``."""

    def open(
        self, path: str, *, known_etag: str | None = None, start: int = 0, start_etag: str | None = None
    ) -> contextlib.AbstractContextManager[Body]:
        """A file.

        Args:
            path: below the channel's address.
            known_etag: the version that the caller has; answered by ``unchanged`` when it is still the one.
            start: leave out so many bytes, if possible.
            start_etag: but only if it is still this version.

        Raises:
            MissingError: there is none. UpdateError: it cannot be had now.
        """

    def cancel(self) -> None:
        """Ends what is being read, soon and for good; from any thread."""

    def close(self) -> None:
        """Lets go of connections."""


class HttpTransport:
    """Reads the channel over HTTP(S); redirects are followed on the same host only.

    Args:
        url: the channel's address.
        ca_file: certificates to trust instead of the system's; None: the system's.
        timeout_seconds: for connecting, for each wait for bytes, and for the head of an answer.
        proxy: an HTTP proxy's address.
        clock_in_doubt: whether the dates of certificates say nothing now. Authority and name still have to be right,
            and what is read is signed.

    Raises:
        ConfigError: the certificates cannot be used.
    """

    def __init__(
        self,
        url: str,
        ca_file: Path | None,
        timeout_seconds: float,
        proxy: str | None = None,
        clock_in_doubt: Callable[[], bool] = lambda: False,
    ) -> None:
        self._base = url if url.endswith("/") else f"{url}/"
        self._line = Line(timeout_seconds)
        self._trust = _trust(ca_file) if self._base.startswith("https:") else None
        self._clock_in_doubt = clock_in_doubt
        # The proxy variables of whoever started the agent must not decide where a node gets its models from.
        self._client = httpx.Client(
            verify=self._trust or False,
            timeout=timeout_seconds,
            trust_env=False,
            proxy=proxy,
            limits=httpx.Limits(max_keepalive_connections=1, keepalive_expiry=300.0),
            headers={"User-Agent": f"helmet-agent/{__version__}", "Accept-Encoding": "identity"},
        )

    @contextlib.contextmanager
    def open(
        self, path: str, *, known_etag: str | None = None, start: int = 0, start_etag: str | None = None
    ) -> Iterator[Body]:
        """See ``Transport``."""
        headers = {}
        if known_etag is not None:
            headers["If-None-Match"] = known_etag
        if start:
            headers["Range"] = f"bytes={start}-"
            # A weak one may not be used to put a file together (RFC 9110, 13.1.5).
            if start_etag is not None and not start_etag.startswith("W/"):
                headers["If-Range"] = start_etag
        url = urljoin(self._base, path)
        self._mind_the_clock()
        try:
            with self._following(url, headers) as answer:
                etag = answer.headers.get("ETag")
                if answer.status_code == httpx.codes.NOT_MODIFIED:
                    answer.read()  # nothing; but a connection whose answer was not read to its end is not used again
                    yield Body(iter(()), etag=etag or known_etag, unchanged=True)
                elif answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and start:
                    # More bytes are here than there: what is here cannot be the beginning of that file.
                    yield Body(iter(()), start=0, etag=None)
                else:
                    # Not in chunks of our own size: what came of the last one would be lost with a cut.
                    yield Body(self._line.steady(answer.iter_raw(), url), _first_byte(answer, start, url), etag)
        except httpx.HTTPError as error:
            raise UpdateError(f"{url}: {self._why(error)}") from error

    def cancel(self) -> None:
        """See ``Transport``."""
        self._line.end()

    def close(self) -> None:
        """Lets go of the connection."""
        self._client.close()

    def _mind_the_clock(self) -> None:
        if self._trust is not None:
            strict = self._trust.verify_flags & ~_NO_CHECK_TIME
            self._trust.verify_flags = strict | (_NO_CHECK_TIME if self._clock_in_doubt() else 0)

    @contextlib.contextmanager
    def _following(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        for _ in range(MAX_REDIRECTS + 1):
            if self._line.ended:
                raise UpdateError(f"{url}: called off")
            with self._asking(url, headers) as answer:
                if not answer.has_redirect_location:
                    if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.FORBIDDEN, httpx.codes.GONE):
                        raise MissingError(f"{url}: answered {answer.status_code}, no such file in the channel")
                    if answer.is_error and answer.status_code != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                        raise UpdateError(f"{url}: answered {answer.status_code} {answer.reason_phrase}".rstrip())
                    yield answer
                    return
                target = urljoin(url, answer.headers["Location"])
            if _origin(target) != _origin(url):
                raise UpdateError(f"{url}: is redirected to another host, which is not followed; correct channel_url")
            url = target
        raise UpdateError(f"{url}: redirected more than {MAX_REDIRECTS} times; correct channel_url")

    def _why(self, error: httpx.HTTPError) -> str:
        if self._line.ended:
            return "called off"
        return "no answer in time" if self._line.was_cut else _reason(error)

    @contextlib.contextmanager
    def _asking(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """One answer, whose head came in time."""
        asked = self._client.build_request("GET", url, headers=headers, extensions={"trace": self._line.trace})
        with self._line.deadline() as timer:
            answer = self._client.send(asked, stream=True)
            timer.cancel()
        try:
            yield answer
        finally:
            answer.close()


class FolderTransport:
    """Reads a channel from a folder with ``metadata`` and ``targets`` in it.

    Args:
        folder: the bundle.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def open(
        self, path: str, *, known_etag: str | None = None, start: int = 0, start_etag: str | None = None
    ) -> Iterator[Body]:
        """See ``Transport``; always the whole file."""
        del known_etag, start, start_etag
        place = self._folder / path
        if ".." in place.parts:
            raise MissingError(f"{place}: no path below the bundle")
        try:
            with place.open("rb") as file:
                yield Body(iter(lambda: file.read(CHUNK_BYTES), b""))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise MissingError(f"{place}: not in the bundle") from error
        except OSError as error:
            raise UpdateError(f"{place}: cannot be read: {error.strerror}") from error

    def cancel(self) -> None:
        """Nothing here waits for anybody."""

    def close(self) -> None:
        """Nothing to let go of."""


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror if error.strerror and not isinstance(error, ssl.SSLError) else "no PEM certificates"
        raise ConfigError(f"updates.ca_file: {ca_file}: cannot be used: {reason}") from error


def _first_byte(answer: httpx.Response, asked: int, url: str) -> int:
    if answer.status_code != httpx.codes.PARTIAL_CONTENT:
        return 0
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    if unit != "bytes" or not first.isdigit() or int(first) != asked:
        raise UpdateError(f"{url}: asked for the bytes from {asked} on, answered with others")
    return asked


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return f"cannot be reached: {error}" if isinstance(error, httpx.ConnectError) else f"cut short: {error}"
