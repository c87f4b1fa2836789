# SPDX-License-Identifier: Apache-2.0
"""A download that survives cuts and restarts: what came stays in a ``.part`` file, only the rest is fetched again."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from tuf.api.exceptions import LengthOrHashMismatchError

from helmet_agent.adapters.tuf_feed.transport import MissingError
from helmet_agent.durable import reported
from helmet_agent.errors import UpdateError

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from tuf.api.metadata import TargetFile

    from helmet_agent.adapters.tuf_feed.transport import Transport

PART, PART_ETAG = ".part", ".etag"
MOST_CUTS = 1000
WORTH_BYTES = 16 << 10
"""A cut is sat out, up to so many in one go, when its connection brought so much; else the next poll goes on."""


class Download:
    """Brings one file.

    Args:
        transport: to read from.
        path: of the file in the channel.
        target: its signed length and hashes; not one byte more than its length is taken.
        into: where it goes when it is whole and verified.
        cancelled: ends the download soon.
    """

    def __init__(
        self, transport: Transport, path: str, target: TargetFile, into: Path, cancelled: threading.Event
    ) -> None:
        self._transport = transport
        self._path = path
        self._target = target
        self._into = into
        self._part = into.with_name(into.name + PART)
        self._etag = into.with_name(into.name + PART_ETAG)
        self._cancelled = cancelled

    def run(self) -> None:
        """Downloads, verifies and puts the file in its place.

        Raises:
            UpdateError: it did not come, or is not the file that was signed (then what came is thrown away).
            StorageError: it cannot be written.
        """
        for _ in range(MOST_CUTS):
            before = self._have()
            if before >= self._target.length:
                break
            try:
                self._more(before)
            except MissingError:
                raise
            except UpdateError:
                if self._have() < before + WORTH_BYTES or self._cancelled.is_set():
                    raise
        self._finish()

    def _have(self) -> int:
        try:
            return self._part.stat().st_size
        except OSError:
            return 0

    def _more(self, start: int) -> None:
        etag = None
        with contextlib.suppress(OSError):
            etag = self._etag.read_text() or None
        with self._transport.open(self._path, start=start, start_etag=etag) as body, reported("write", self._part):
            self._etag.write_text(body.etag or "")
            with self._part.open("r+b" if body.start else "wb") as part:
                part.seek(body.start)
                part.truncate()
                left = self._target.length - body.start
                for chunk in body.chunks:
                    if self._cancelled.is_set():
                        raise UpdateError("the download was called off")
                    if len(chunk) > left:
                        self._discard()
                        raise UpdateError(f"{self._path}: longer than the {self._target.length} bytes that were signed")
                    part.write(chunk)
                    left -= len(chunk)
        if self._have() < self._target.length:
            raise UpdateError(f"{self._path}: ends after {self._have()} of {self._target.length} bytes")

    def _finish(self) -> None:
        with reported("read", self._part):
            try:
                with self._part.open("rb") as part:
                    self._target.verify_length_and_hashes(part)
                    os.fsync(part.fileno())
            except LengthOrHashMismatchError as error:
                self._discard()
                raise UpdateError(f"{self._path}: not the file that was signed; fetching it anew next time") from error
            except FileNotFoundError as error:
                raise UpdateError(f"{self._path}: nothing came") from error
        with reported("write", self._into):
            self._part.replace(self._into)
        with contextlib.suppress(OSError):
            self._etag.unlink()

    def _discard(self) -> None:
        for path in (self._part, self._etag):
            with contextlib.suppress(OSError):
                path.unlink()
