# SPDX-License-Identifier: Apache-2.0
"""Deletes what must not be kept: pictures of people that no data set uses, and what a crash left behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import DBAPIError

from helmet_cloud.errors import Conflict, NotFound
from helmet_cloud.examples.faults import as_hub_error
from helmet_cloud.store.examples import (
    LABELLED,
    known_examples,
    known_in_shard,
    received_before,
    remove_examples,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_cloud.examples.pictures import PictureFolder
    from helmet_cloud.store.database import Database

_log = structlog.get_logger(__name__)

DAY_SECONDS = 86400.0
GRACE_SECONDS = 3600.0
"""Files younger than this may belong to an upload that is under way."""
_AT_ONCE = 200


class Housekeeping:
    """The hub's duties towards old pictures; every method may run beside the ingest, in any process.

    Args:
        database: of the hub.
        pictures: of the hub.
        retention_days: after which a picture goes that no data set uses.
    """

    def __init__(self, database: Database, pictures: PictureFolder, retention_days: float) -> None:
        self._database = database
        self._pictures = pictures
        self._retention_seconds = retention_days * DAY_SECONDS

    def expire(self, now: float) -> int:
        """Deletes pictures that arrived longer ago than the retention and that no data set uses; returns how many.

        Args:
            now: Unix time in seconds.

        Raises:
            StorageError: the disk refuses to delete one; it is tried again by ``heal``.
        """
        gone = 0
        while True:
            with self._database.read() as session:
                old = received_before(session, now - self._retention_seconds, _AT_ONCE)
            if not old:
                break
            gone += self._forget(old)
        if gone:
            _log.info("pictures deleted", count=gone, reason="older than retention_days and in no data set")
        return gone

    def delete(self, sha256: str) -> None:
        """Deletes one example.

        Raises:
            NotFound: there is none.
            Conflict: a data set uses it.
            OutOfSpace: the disk is so full that not even this can be written down.
            StorageError: the disk refuses.
        """
        with self._database.read() as session:
            state = known_examples(session, [sha256]).get(sha256)
        if state is None:
            raise NotFound(f"no example {sha256}")
        if state == LABELLED:
            raise Conflict(f"a data set uses the example {sha256}: it stays as long as that")
        try:
            self._forget([sha256])
        except DBAPIError as error:
            raise as_hub_error(error) from error

    def heal(self) -> dict[str, int]:
        """Mends what a crash or a stranger left: to be called at start and once a day.

        Removes temporary files and pictures without a row, both older than an hour, and rows without a picture that
        no data set uses. Returns how many of each: ``temporaries``, ``orphans``, ``rows``. Ages are by the clock that
        wrote the files.

        Raises:
            StorageError: the disk refuses.
        """
        found = {"temporaries": 0, "orphans": 0, "rows": 0}
        for shard in self._pictures.shards():
            found["temporaries"] += self._pictures.sweep(shard, GRACE_SECONDS)
            found["orphans"] += self._remove_orphans(shard)
            found["rows"] += self._drop_rows(shard.name)
        if any(found.values()):
            _log.warning("pictures mended", **found)
        return found

    def _forget(self, digests: Sequence[str]) -> int:
        # Rows first: a row promises its picture. Between the two steps a node may send the picture again, so the
        # second asks once more, under the lock of the database that ingest renames under.
        with self._database.write() as session:
            remove_examples(session, digests)
        with self._database.write() as session:
            known = known_examples(session, digests)
            self._pictures.remove(one for one in digests if one not in known)
        return len(digests) - len(known)

    def _remove_orphans(self, shard: Path) -> int:
        files = self._pictures.scan(shard, time.time() - GRACE_SECONDS)
        with self._database.read() as session:
            known = known_examples(session, files)
        orphans = [one for one in files if one not in known]
        if not orphans:
            return 0
        with self._database.write() as session:
            known = known_examples(session, orphans)
            return self._pictures.remove(one for one in orphans if one not in known)

    def _drop_rows(self, prefix: str) -> int:
        with self._database.read() as session:
            rows = known_in_shard(session, prefix)
        missing = [one for one in rows if not self._pictures.path(one).exists()]
        if not missing:
            return 0
        with self._database.write() as session:
            states = known_examples(session, missing)
            gone = [one for one in missing if one in states and not self._pictures.path(one).exists()]
            remove_examples(session, gone)
        for one in gone:
            if states[one] == LABELLED:
                _log.error("picture missing", sha256=one, advice="a data set uses it; restore it from a backup")
        return sum(states[one] != LABELLED for one in gone)
