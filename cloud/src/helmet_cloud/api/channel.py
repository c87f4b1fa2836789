# SPDX-License-Identifier: Apache-2.0
"""The channel over HTTP: static files for many nodes that poll, as cheap as they can be (RFC 9110).

A poll is one conditional GET of ``metadata/timestamp.json``: its answer needs one ``stat`` and no reading. A file that
is replaced meanwhile goes out whole, as the old or the new one. Any other web server may serve the same folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

PREFIX = "/channel/"
REVALIDATE = b"no-cache"
FOR_EVER = b"public, max-age=31536000, immutable"

_SHA256 = r"[0-9a-f]{64}"
_NAME = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_METADATA = re.compile(r"metadata/(?:timestamp|[1-9][0-9]{0,15}\.(?:root|snapshot|targets))\.json\Z")
_TARGET = re.compile(rf"targets/(?:files|jobs/{_NAME}/{_NAME})/({_SHA256})\.(?:{_SHA256}|[a-z]{{1,32}}\.json)\Z")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")
_CHUNK_BYTES = 16 << 10
"""One TLS record. OpenSSL keeps what a connection once needed to encrypt a chunk: 64 KiB made a thousand nodes that had
fetched one model cost 60 MiB."""
_MAX_METADATA_BYTES = 16 << 20
_REMEMBERED = 256

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class _Version:
    """Tells one content of a file from another without reading it."""

    inode: int
    changed_ns: int
    size: int


class ChannelFiles:
    """An ASGI application that serves ``metadata/`` and ``targets/`` below ``/channel/``, read only, to everybody.

    Args:
        folder: ``HubHome.channel``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tags: dict[str, tuple[_Version, bytes]] = {}
        self.answers: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        del receive  # nothing that a client sends is read
        method = scope["method"]
        path = scope["path"].removeprefix(PREFIX)
        if method not in ("GET", "HEAD"):
            await self._say(send, HTTPStatus.METHOD_NOT_ALLOWED, [(b"allow", b"GET, HEAD")])
            return
        target = _TARGET.match(path)
        if target is None and _METADATA.match(path) is None:
            await self._missing(send)
            return
        try:
            descriptor = os.open(self._folder / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            await self._missing(send)
            return
        try:
            asked = {key: value for key, value in scope["headers"] if key in _ASKED}
            await self._file(send, descriptor, path, target[1] if target else None, asked, body=method == "GET")
        finally:
            os.close(descriptor)

    async def _file(
        self, send: Send, descriptor: int, path: str, digest: str | None, asked: dict[bytes, bytes], *, body: bool
    ) -> None:
        found = os.fstat(descriptor)
        size = found.st_size
        version = _Version(found.st_ino, found.st_mtime_ns, size)
        tag = f'"{digest}"'.encode() if digest else self._tag(descriptor, path, version)
        fresh = path.endswith("timestamp.json")
        headers: Headers = [(b"etag", tag), (b"cache-control", REVALIDATE if fresh else FOR_EVER)]
        if _names(asked.get(b"if-none-match"), tag):
            await self._say(send, HTTPStatus.NOT_MODIFIED, headers)
            return
        headers += [
            (b"content-type", b"application/json" if path.endswith(".json") else b"application/octet-stream"),
            (b"accept-ranges", b"bytes"),
        ]
        begin, end, status = 0, size, HTTPStatus.OK
        wanted = asked.get(b"range")
        if wanted is not None and asked.get(b"if-range", tag) == tag:
            part = _part(wanted.decode("latin-1"), size)
            if part is not None and part[0] >= part[1]:
                headers.append((b"content-range", f"bytes */{size}".encode()))
                await self._say(send, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
                return
            if part is not None:
                begin, end, status = *part, HTTPStatus.PARTIAL_CONTENT
                headers.append((b"content-range", f"bytes {begin}-{end - 1}/{size}".encode()))
        headers.append((b"content-length", str(end - begin).encode()))
        self.answers[status] += 1
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        if body:
            await _stream(send, descriptor, begin, end)
        else:
            await send({"type": "http.response.body", "body": b""})

    def _tag(self, descriptor: int, path: str, version: _Version) -> bytes:
        """A strong entity tag: the digest of the content, remembered for as long as the file is the same."""
        known = self._tags.get(path)
        if known is not None and known[0] == version:
            return known[1]
        content = os.pread(descriptor, _MAX_METADATA_BYTES, 0)
        tag = f'"{hashlib.sha256(content).hexdigest()}"'.encode()
        if len(self._tags) >= _REMEMBERED:
            self._tags.clear()
        self._tags[path] = (version, tag)
        return tag

    async def _missing(self, send: Send) -> None:
        # Nobody may remember that it is missing: the next root appears where there was none.
        await self._say(send, HTTPStatus.NOT_FOUND, [(b"cache-control", REVALIDATE)])

    async def _say(self, send: Send, status: HTTPStatus, headers: Headers) -> None:
        self.answers[status] += 1
        content = b"" if status is HTTPStatus.NOT_MODIFIED else f"{status.phrase}\n".encode()
        if content:
            headers = [*headers, (b"content-type", b"text/plain"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": content})


_ASKED = (b"if-none-match", b"range", b"if-range")


def _names(asked: bytes | None, tag: bytes) -> bool:
    """Whether If-None-Match names the tag; the comparison is weak there (RFC 9110, 13.1.2)."""
    if asked is None:
        return False
    return asked.strip() == b"*" or tag in [one.strip().removeprefix(b"W/") for one in asked.split(b",")]


def _part(text: str, size: int) -> tuple[int, int] | None:
    """Begin and end of one range; begin >= end: cannot be satisfied; None: to be ignored, as several ranges are."""
    found = _RANGE.match(text.strip())
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        length = min(int(last), size)
        return size - length, size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


async def _stream(send: Send, descriptor: int, begin: int, end: int) -> None:
    while True:
        length = min(_CHUNK_BYTES, end - begin)
        chunk = _read_cached(descriptor, length, begin)
        if chunk is None:
            chunk = await asyncio.to_thread(os.pread, descriptor, length, begin)
        begin += len(chunk)
        more = begin < end and bool(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": more})
        if not more:
            return


def _read_cached(descriptor: int, length: int, begin: int) -> bytes | None:
    """What the system has in memory anyway, without a hop to a thread; None: it would have to wait for the disk."""
    content = bytearray(length)
    try:
        count = os.preadv(descriptor, [content], begin, os.RWF_NOWAIT)
    except OSError:  # not in memory, or a file system that cannot say
        return None
    return bytes(content[:count]) if count or not length else None
