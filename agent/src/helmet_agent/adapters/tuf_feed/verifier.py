# SPDX-License-Identifier: Apache-2.0
"""The channel's metadata, verified by python-tuf (The Update Framework, specification 1.0).

This is the one module that reaches into python-tuf: its reference time is private, and the node's time comes in through
``ports.Clock`` like everybody's. The version is pinned, and a test breaks when the attribute moves.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from helmet_agent.adapters.tuf_feed.transport import MissingError
from helmet_agent.durable import storage_error
from helmet_agent.errors import UntrustedError, UpdateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tuf.api.metadata import TargetFile

    from helmet_agent.adapters.tuf_feed.transport import Transport

TIMESTAMP = "metadata/timestamp.json"
LIMITS = UpdaterConfig(app_user_agent="helmet-agent")
_NOT_FOUND = 404


class ExpiredError(UntrustedError):
    """What was signed does not hold any more at that time; all else about it is right so far."""


class Verifier:
    """One refresh of the channel's metadata, and what it says about files.

    Args:
        transport: where the metadata is read.
        timestamp: the timestamp file as it was just fetched; it is not asked for a second time.
        root: the root metadata that this node was provisioned with.
        folder: keeps what was verified, so that an older state is refused later.
        now: Unix time, for what has expired.

    Raises:
        UpdateError: metadata could not be fetched. UntrustedError: it does not verify. ExpiredError: it is too old.
        StorageError: what was verified could not be kept.
    """

    def __init__(self, transport: Transport, timestamp: bytes, root: bytes, folder: Path, now: float) -> None:
        self._folder = folder
        try:
            self._updater = Updater(
                str(folder), "metadata", fetcher=_Fetcher(transport, timestamp), config=LIMITS, bootstrap=root
            )
            self._updater._trusted_set.reference_time = dt.datetime.fromtimestamp(now, dt.UTC)  # noqa: SLF001 - see above
            self._updater.refresh()
        except (DownloadError, RepositoryError, OSError) as error:
            raise self._told(error) from error

    def target(self, path: str) -> TargetFile | None:
        """Signed length and hashes of a file; None when it is not part of the channel.

        Raises:
            UpdateError, UntrustedError, StorageError: as for the class, when delegated metadata is needed.
        """
        try:
            return self._updater.get_targetinfo(path)
        except (DownloadError, RepositoryError, OSError) as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> Exception:
        if isinstance(error, OSError):
            return storage_error("write", self._folder, error)
        if isinstance(error, DownloadError):
            cause = error.__cause__
            return cause if isinstance(cause, UpdateError) else UpdateError(f"the channel's metadata: {error}")
        if isinstance(error, ExpiredMetadataError):
            return ExpiredError(
                f"the channel's metadata has expired ({error}): nobody renews it, somebody holds it back, or this "
                "node's clock is wrong"
            )
        if isinstance(error, BadVersionNumberError):
            return UntrustedError(f"the channel shows an older state than this node has seen ({error})")
        if isinstance(error, UnsignedMetadataError):
            return UntrustedError(f"the channel is not signed by the keys that root_file trusts ({error})")
        return UntrustedError(f"the channel's metadata does not verify ({error})")


def check_root(content: bytes) -> None:
    """Whether a file can be the root of trust.

    Raises:
        ValueError: it is no root metadata, or is not signed by its own keys.
    """
    try:
        root = Metadata[Root].from_bytes(content)
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    except (RepositoryError, AttributeError) as error:
        raise ValueError(f"no signed TUF root metadata ({error})") from error


class _Fetcher(FetcherInterface):
    """Gives python-tuf the channel's files through our transport."""

    def __init__(self, transport: Transport, timestamp: bytes) -> None:
        self._transport = transport
        self._timestamp = timestamp

    def _fetch(self, url: str) -> Iterator[bytes]:
        if url == TIMESTAMP:
            return iter((self._timestamp,))
        return self._chunks(url)

    def _chunks(self, url: str) -> Iterator[bytes]:
        try:
            with self._transport.open(url) as body:
                yield from body.chunks
        except MissingError as error:
            raise DownloadHTTPError(str(error), _NOT_FOUND) from error
        except UpdateError as error:
            raise DownloadError(str(error)) from error
