# SPDX-License-Identifier: Apache-2.0
"""New models from the signed channel.

A poll is one conditional GET of ``timestamp.json``. Only when that file changed, and once a day, is the rest of the
metadata read and verified. The manifest of the job and ring that this node follows is a signed file, and so is every
file that it names, so that labels, thresholds and weights cannot be mixed.
"""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuf.api.exceptions import LengthOrHashMismatchError

from helmet_agent.adapters.tuf_feed.download import Download
from helmet_agent.adapters.tuf_feed.verifier import LIMITS, TIMESTAMP, ExpiredError, Verifier
from helmet_agent.contract import ContractError, ModelManifest
from helmet_agent.contract.manifest import MAX_MANIFEST_BYTES
from helmet_agent.errors import UntrustedError, UpdateError
from helmet_agent.ports import ModelOffer

if TYPE_CHECKING:
    from pathlib import Path

    from tuf.api.metadata import TargetFile

    from helmet_agent.adapters.tuf_feed.transport import Body, Transport
    from helmet_agent.contract import FileReference
    from helmet_agent.ports import Clock
    from helmet_agent.timekeeping import Calendar

REFRESH_SECONDS = 86_400.0
"""All metadata is verified anew this often, so that a channel that is held back at an old state is noticed."""


@dataclass(frozen=True, slots=True)
class Channel:
    """What a node follows.

    Attributes:
        job: ``namespace/name``.
        ring: such as ``stable``.
        root: the root metadata file that the node was provisioned with.
    """

    job: str
    ring: str
    root: bytes

    @property
    def manifest_path(self) -> str:
        """The target that holds the manifest."""
        return f"jobs/{self.job}/{self.ring}.json"


class TufFeed:
    """Implements ``ports.ModelFeed`` over a TUF repository with consistent snapshots.

    Args:
        transport: reads its files.
        channel: what to follow.
        folder: keeps the verified metadata; exists.
        clock: says when a day is over, and without a calendar what has expired.
        calendar: says what has expired, and whether the clock is to be believed.
    """

    def __init__(
        self, transport: Transport, channel: Channel, folder: Path, clock: Clock, calendar: Calendar | None = None
    ) -> None:
        self._transport = transport
        self._channel = channel
        self._folder = folder
        self._clock = clock
        self._calendar = calendar
        self._cancelled = threading.Event()
        self._verifier: Verifier | None = None
        self._timestamp: bytes | None = None
        self._etag: str | None = None
        self._refreshed = 0.0
        self._offer: ModelOffer | None = None
        self.refreshes = 0

    def check(self) -> ModelOffer | None:
        """What the channel has for this node now; None when the ring is empty.

        Raises:
            UpdateError: it could not be asked. UntrustedError: it does not verify.
            StorageError: its metadata could not be kept.
        """
        fresh = self._verifier is not None and self._clock.monotonic() - self._refreshed < REFRESH_SECONDS
        with self._transport.open(TIMESTAMP, known_etag=self._etag if fresh else None) as body:
            if body.unchanged and fresh:
                return self._offer
            timestamp = _read(body, LIMITS.timestamp_max_length, TIMESTAMP)
            etag = body.etag
        if not (fresh and timestamp == self._timestamp):
            self._refresh(timestamp)
        self._timestamp, self._etag = timestamp, etag
        return self._offer

    def fetch(self, wanted: FileReference, into: Path) -> None:
        """Brings a file of the latest offer into ``into``, whole and verified, going on where it was cut.

        Raises:
            UpdateError: it did not come, or is not the file that was signed. StorageError: it cannot be written.
        """
        if self._verifier is None:
            raise UpdateError("the channel was not read yet")
        path = f"files/{wanted.sha256}"
        target = self._verifier.target(path)
        if target is None:
            raise UntrustedError(f"{path}: the manifest names it, the channel has not signed it")
        if target.length != wanted.size_bytes or target.hashes.get("sha256") != wanted.sha256:
            raise UntrustedError(f"{path}: length or sha256 signed by the channel are not those in the manifest")
        Download(self._transport, _place(path, target), target, into, self._cancelled).run()

    def cancel(self) -> None:
        """Ends whatever is being read at once, and for good; what came of a download is kept."""
        self._cancelled.set()
        self._transport.cancel()

    def close(self) -> None:
        """Lets go of the connection."""
        self._transport.close()

    def _refresh(self, timestamp: bytes) -> None:
        # Whatever fails from here on: the next poll begins anew.
        self._verifier, self._etag = None, None
        verifier = self._verified(timestamp)
        target = verifier.target(self._channel.manifest_path)
        self._offer = None if target is None else self._read_offer(target)
        self._verifier, self._refreshed = verifier, self._clock.monotonic()
        self.refreshes += 1

    def _verified(self, timestamp: bytes) -> Verifier:
        """Verifies all metadata; where the clock is not believed, only what has certainly expired is refused."""

        def verified_at(now: float) -> Verifier:
            return Verifier(self._transport, timestamp, self._channel.root, self._folder, now)

        calendar = self._calendar
        if calendar is None:
            return verified_at(self._clock.now())
        try:
            found = verified_at(calendar.now())
        except ExpiredError:
            if calendar.doubt() is None:
                raise
            return verified_at(calendar.certain())
        calendar.vouch()
        return found

    def _read_offer(self, target: TargetFile) -> ModelOffer:
        if self._offer is not None and target.hashes.get("sha256") == self._offer.key:
            return self._offer
        path = _place(target.path, target)
        with self._transport.open(path) as body:
            content = _read(body, min(target.length, MAX_MANIFEST_BYTES), path)
        try:
            target.verify_length_and_hashes(io.BytesIO(content))
            manifest = ModelManifest.from_bytes(content)
        except LengthOrHashMismatchError as error:
            raise UntrustedError(f"{path}: not the file that was signed") from error
        except ContractError as error:
            raise UntrustedError(f"{path}: no manifest that this agent understands: {error}") from error
        return ModelOffer(hashlib.sha256(content).hexdigest(), manifest, content)


def _place(path: str, target: TargetFile) -> str:
    """Where a target lies in a repository with consistent snapshots: its hash goes before its name."""
    folder, slash, name = path.rpartition("/")
    digest = target.hashes.get("sha256") or next(iter(target.hashes.values()))
    return f"targets/{folder}{slash}{digest}.{name}"


def _read(body: Body, most: int, path: str) -> bytes:
    content = bytearray()
    for chunk in body.chunks:
        content += chunk
        if len(content) > most:
            raise UpdateError(f"{path}: longer than {most} bytes")
    return bytes(content)
