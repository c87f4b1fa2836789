# SPDX-License-Identifier: Apache-2.0
"""The spool: an example sink on this node's disk with a byte quota, safe against being killed at any point.

An example counts from the commit of its row. Its files are written before, so a kill in between leaves whole files
without a row, which the next start adopts; an eviction deletes rows before files for the same reason.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from helmet_agent.adapters.spool.files import ExampleFiles, Found, on_disk
from helmet_agent.adapters.spool.index import Candidate, Row, SpoolIndex
from helmet_agent.contract import ContractError, ExampleRecord
from helmet_agent.crash_points import (
    EXAMPLE_COUNTED,
    EXAMPLE_SENT,
    EXAMPLE_WRITTEN,
    EXAMPLES_FOUND,
    EXAMPLES_UNCOUNTED,
    nothing,
)
from helmet_agent.durable import FolderLock, make_folder, sweep_temporaries
from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from helmet_agent.contract import HardExample
    from helmet_agent.crash_points import Reach

_log = structlog.get_logger(__name__)

_GROWTH_BYTES = 64 << 10
"""What one transaction may add to the index and its log; kept free so that the quota holds after every put."""

_SECONDS_PER_DAY = 86400.0
NONSENSE_SECONDS = 946_684_800.0
"""2000-01-01: pictures from before were taken while the clock was wrong; their days count from when it is right."""
COUNTERS = (
    "put",  # accepted for good
    "duplicates",  # were here already
    "quota_refused",  # worth less than everything that the quota holds
    "failed",  # not kept: the disk refused
    "evicted",  # gone for better ones before anybody fetched them
    "evicted_uploaded",  # gone for better ones, uploaded before
    "expired",  # older than the retention period
    "adopted",  # at start: whole files without a row
    "removed_incomplete",  # at start: files of a write that never finished
    "missing",  # at start: rows whose files somebody took away
    "damaged",  # files that no longer match their name
)


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """How full the spool is and what happened since the start.

    Attributes:
        examples, pending, refused: held, of these waiting to be uploaded, and of these not taken by the hub.
        used_bytes: on disk, index included, in blocks of 4 KiB.
        quota_bytes: the limit of ``used_bytes``.
        oldest_seconds: when the oldest picture was taken, Unix time; None when empty.
        counters: by the names in ``COUNTERS``, since this process opened the spool.
    """

    examples: int
    pending: int
    used_bytes: int
    quota_bytes: int
    oldest_seconds: float | None
    counters: dict[str, int] = field(default_factory=dict)
    refused: int = 0


class Spool:
    """Keeps hard examples until they are evicted, expire or the folder is fetched; thread-safe.

    Value, which decides who leaves when the quota is reached: uploaded examples go first; then the rule's rank
    (``RULE_RANKS``), then the record's value, then age, the older first.

    Args:
        directory: the spool's own folder; created. One process at a time.
        quota_bytes: limit of pictures, records and index together. While an example is being put, its own size may
            come on top.
        reach: told the name of each crash point.

    Raises:
        StorageError: the folder cannot be used, or another process uses it.
    """

    def __init__(self, directory: Path, quota_bytes: int, reach: Reach = nothing) -> None:
        self._reach = reach
        self._directory = directory
        self._quota = quota_bytes
        self._files = ExampleFiles(directory)
        self._counters: Counter[str] = Counter()
        self._unremoved: set[str] = set()
        self._guard = threading.RLock()
        self._closed = False
        make_folder(directory)
        with contextlib.ExitStack() as opened:
            self._owner = FolderLock(directory)
            opened.callback(self._owner.release)
            sweep_temporaries(directory)
            self._index = SpoolIndex(directory)
            opened.callback(self._index.close)
            self._reconcile()
            self._used = sum(self._index.sizes().values())
            self._trim()
            opened.pop_all()

    def put(self, example: HardExample) -> bool:
        """Keeps an example; when this returns True, it survives a kill and a power cut until it is evicted.

        Returns:
            False when it was here already, or when the quota holds only more valuable ones (``quota_refused``).

        Raises:
            StorageError: it could not be kept; whatever was kept before still is.
            ContractError: the record holds something that could not be read back.
        """
        content = example.record.to_bytes()
        ExampleRecord.from_json(json.loads(content))
        row = Row.of(example.record, on_disk(len(example.jpeg)) + on_disk(len(content)))
        with self._using():
            if row.sha256 in self._index:
                self._counters["duplicates"] += 1
                return False
            leavers = self._leavers(row.size, row)
            if leavers is None:
                self._counters["quota_refused"] += 1
                return False
            victims = [candidate.sha256 for candidate in leavers]
            try:
                self._files.write(example, content)
                self._reach(EXAMPLE_WRITTEN)
                freed = self._index.replace([row], victims)
            except StorageError:
                self._counters["failed"] += 1
                self._discard([row.sha256])
                raise
            self._reach(EXAMPLE_COUNTED)
            self._unremoved.discard(row.sha256)
            self._counters["put"] += 1
            self._count_evicted(leavers)
            self._used += row.size - freed
            self._discard(victims)
            return True

    def pending(self, limit: int) -> tuple[str, ...]:
        """Digests of examples that wait for the hub, the most valuable first, at most ``limit``."""
        with self._using():
            return self._index.pending(limit)

    def open(self, sha256: str) -> HardExample | None:
        """Reads an example and checks it.

        Returns:
            None when it is not here: never was, evicted, expired, or found damaged just now (counted and removed).

        Raises:
            StorageError: the disk does not let us read.
        """
        with self._using():
            if sha256 not in self._index:
                return None
            try:
                return self._files.read(sha256)
            except (FileNotFoundError, ContractError) as error:
                _log.error("a spooled example is damaged and was dropped", sha256=sha256, reason=str(error))
                self._counters["damaged"] += 1
                self._drop([sha256])
                return None

    def mark_uploaded(self, sha256: str) -> bool:
        """Notes that the hub has it: it stays as long as there is room, and is the first to go. False: not here."""
        with self._using():
            known = self._index.mark_uploaded(sha256)
            self._reach(EXAMPLE_SENT)
            return known

    def mark_refused(self, sha256: str, reason: str) -> bool:
        """Notes that the hub does not take it, and why: it is kept, and not pending any more. False: not here."""
        with self._using():
            return self._index.mark_refused(sha256, reason)

    def refused(self, limit: int) -> tuple[tuple[str, str], ...]:
        """(digest, reason) of examples that the hub does not take, the newest first, at most ``limit``."""
        with self._using():
            return self._index.refused(limit)

    def expire(self, now: float, retention_days: float) -> int:
        """Removes examples whose picture was taken more than ``retention_days`` before ``now`` (Unix seconds).

        Returns:
            How many went.

        Raises:
            StorageError: files are still there; the next call tries again.
        """
        with self._using():
            if now > NONSENSE_SECONDS:
                self._index.redate(NONSENSE_SECONDS, now)
            old = self._index.older_than(now - retention_days * _SECONDS_PER_DAY)
            self._used -= self._index.remove(old)
            self._reach(EXAMPLES_UNCOUNTED)
            self._counters["expired"] += len(old)
            if (refused := self._discard({*old, *self._unremoved})) is not None:
                raise refused
            return len(old)

    def stats(self) -> SpoolStats:
        """How full it is and what happened."""
        with self._using():
            examples, pending, refused, oldest = self._index.totals()
            used = self._used + self._index.disk_bytes
            counters = {name: self._counters[name] for name in COUNTERS}
            return SpoolStats(examples, pending, used, self._quota, oldest, counters, refused)

    def close(self) -> None:
        """Closes the index and lets go of the folder; idempotent. Nothing waits to be written: every put was final."""
        with self._guard:
            if not self._closed:
                self._closed = True
                try:
                    self._index.close()
                finally:
                    self._owner.release()

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        with self._guard:
            if self._closed:
                raise StorageError(f"the spool {self._directory} is closed; open it again")
            yield

    def _leavers(self, needed: int, incoming: Row | None) -> list[Candidate] | None:
        """The least valuable examples that have to go for ``needed`` bytes of room, as few as will do.

        None when not even all of them would be enough or when one of them is worth more than the incoming example.
        """
        room = self._quota - self._used - self._index.disk_bytes - _GROWTH_BYTES
        leavers: list[Candidate] = []
        if room >= needed:
            return leavers
        for candidate in self._index.candidates():
            if incoming is not None and candidate.key > incoming.key:
                return None
            room += candidate.size
            leavers.append(candidate)
            if room >= needed:
                return leavers
        return leavers if incoming is None else None

    def _count_evicted(self, leavers: list[Candidate]) -> None:
        for candidate in leavers:
            self._counters["evicted_uploaded" if candidate.uploaded else "evicted"] += 1

    def _trim(self) -> None:
        """Brings a spool that was opened with a smaller quota, or with adopted files, back under it."""
        leavers = self._leavers(0, None) or []
        self._drop([candidate.sha256 for candidate in leavers])
        self._count_evicted(leavers)

    def _drop(self, digests: list[str]) -> None:
        """Rows first: should we be killed in between, the next start adopts the files instead of missing them."""
        self._used -= self._index.remove(digests)
        self._reach(EXAMPLES_UNCOUNTED)
        self._discard(digests)

    def _discard(self, digests: Iterable[str]) -> StorageError | None:
        """Removes files that have no row; what the disk refuses is tried again by ``expire`` and the next start."""
        refused: StorageError | None = None
        for sha256 in digests:
            try:
                self._files.remove(sha256)
                self._unremoved.discard(sha256)
            except StorageError as error:
                refused = error
                self._unremoved.add(sha256)
                _log.error("files of a dropped example are still there", sha256=sha256, reason=str(error))
        return refused

    def _reconcile(self) -> None:
        """Makes rows and files agree after whatever happened: the files are the truth, the rows say which count."""
        found, strangers = self._files.scan()
        if strangers:
            _log.warning("files that are no examples lie in the spool", count=len(strangers), first=str(strangers[0]))
        doubtful: set[str] = set()
        for sha256, size in self._index.sizes().items():
            pair = found.get(sha256)
            if pair is not None and pair.complete and pair.size == size:
                del found[sha256]
            else:
                doubtful.add(sha256)
        self._index.remove(sorted(doubtful))
        self._counters["missing"] += len(doubtful - found.keys())
        adopted: list[Row] = []
        for sha256, pair in found.items():
            if (row := self._verified(sha256, pair)) is not None:
                adopted.append(row)
                self._counters["adopted"] += sha256 not in doubtful
            else:
                self._counters["damaged" if sha256 in doubtful else "removed_incomplete"] += 1
                self._discard([sha256])
        self._reach(EXAMPLES_FOUND)
        self._index.add(adopted)
        noted = {name: self._counters[name] for name in COUNTERS if self._counters[name]}
        if noted:
            _log.warning("the spool was put in order after an unclean end", **noted)

    def _verified(self, sha256: str, pair: Found) -> Row | None:
        """The row for whole files that have none; None when they are not whole or do not belong together."""
        if not pair.complete:
            return None
        try:
            return Row.of(self._files.read(sha256).record, pair.size)
        except (FileNotFoundError, ContractError):
            return None
