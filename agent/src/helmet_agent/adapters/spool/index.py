# SPDX-License-Identifier: Apache-2.0
"""The spool's index in SQLite: which examples count, in the order of their value.

Write-ahead logging with ``synchronous=FULL``: a commit is on the disk when it returns. The folder is locked by its
owner, so SQLite runs in exclusive locking mode and needs no shared-memory file.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from helmet_agent.durable import reported, storage_error
from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from helmet_agent.contract import ExampleRecord

_log = structlog.get_logger(__name__)

_SCHEMA_VERSION = 2
_SCHEMA = f"""
CREATE TABLE examples (
    sha256 TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    rank INTEGER NOT NULL,
    value REAL NOT NULL,
    time_seconds REAL NOT NULL,
    size INTEGER NOT NULL,
    uploaded INTEGER NOT NULL DEFAULT 0,
    refused TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX by_value ON examples (uploaded DESC, rank, value, time_seconds, sha256, size);
CREATE INDEX by_time ON examples (time_seconds);
PRAGMA user_version = {_SCHEMA_VERSION};
"""
_FROM_VERSION_1 = f"""
BEGIN;
ALTER TABLE examples ADD COLUMN refused TEXT;
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""
_LEAST_VALUABLE_FIRST = "ORDER BY uploaded DESC, rank, value, time_seconds, sha256"
_WAL_PAGES = 16
_WAL_KEPT_BYTES = 128 << 10
_BATCH = 200

RULE_RANKS: Mapping[str, int] = {"random": 0, "cloudonly": 0, "ibt": 1, "threshold": 2, "crossentropy": 2}
"""Rank of each mining rule, lower-case; a higher rank is worth more. Random choice says nothing of a frame; IBT takes
nearly every frame at its usual thresholds. Rules that are not named here see what those cannot and rank highest."""

_HIGHEST_RANK = 3
_ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
}

Key = tuple[int, int, float, float, str]
"""The order of value: (0 uploaded, 1 not; rank; value; time; sha256). The smallest goes first."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example as the index knows it; ``size`` is what its two files take on the disk, in bytes."""

    sha256: str
    rule: str
    value: float
    time_seconds: float
    size: int
    rank: int

    @classmethod
    def of(cls, record: ExampleRecord, size: int) -> Row:
        """The row of a record."""
        return cls(record.sha256, record.rule, float(record.value), record.time_seconds, size, rank_of(record.rule))

    @property
    def key(self) -> Key:
        """Where it stands in the order of value while it is not uploaded."""
        return (1, self.rank, self.value, self.time_seconds, self.sha256)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example that may have to go."""

    sha256: str
    size: int
    uploaded: bool
    key: Key


def rank_of(rule: str) -> int:
    """How much a rule's choice is worth; see ``RULE_RANKS``."""
    return RULE_RANKS.get(rule.casefold(), _HIGHEST_RANK)


class SpoolIndex:
    """Rows of committed examples. Not thread-safe: the spool's lock guards it.

    Args:
        directory: the spool's folder, locked by the caller. A damaged index is moved aside to
            ``index.sqlite.damaged`` and an empty one made; the caller fills it from the files.

    Raises:
        StorageError: from every method, when the disk refuses.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "index.sqlite"
        self._damaged = directory / "index.sqlite.damaged"
        self.rebuilt = False
        with self._reported():
            try:
                self._connection = self._open()
            except _UnusableError as unusable:
                _log.error("the spool's index is unusable: rebuilding it from the files", reason=str(unusable))
                self._move_aside()
                self._connection = self._open()
                self.rebuilt = True
            else:
                with reported("remove", self._damaged):
                    self._damaged.unlink(missing_ok=True)

    def close(self) -> None:
        """Folds the log into the database and closes it."""
        with self._reported():
            self._connection.close()

    @property
    def disk_bytes(self) -> int:
        """What the index takes on the disk, its log and a damaged predecessor included."""
        total = 0
        for path in (self._path, self._path.with_name("index.sqlite-wal"), self._damaged):
            with reported("read", path), contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def __contains__(self, sha256: str) -> bool:
        with self._reported():
            return self._connection.execute("SELECT 1 FROM examples WHERE sha256 = ?", (sha256,)).fetchone() is not None

    def sizes(self) -> dict[str, int]:
        """Size on disk of every example."""
        with self._reported():
            return dict(self._connection.execute("SELECT sha256, size FROM examples"))

    def totals(self) -> tuple[int, int, int, float | None]:
        """(examples, waiting to be uploaded, refused by the hub, time of the oldest in Unix seconds)."""
        with self._reported():
            count, uploaded, refused, oldest = self._connection.execute(
                "SELECT count(*), total(uploaded), count(refused), min(time_seconds) FROM examples"
            ).fetchone()
        return count, count - int(uploaded) - refused, refused, oldest

    def candidates(self) -> Iterator[Candidate]:
        """All examples, the least valuable first."""
        with self._reported():
            for sha256, rank, value, time_seconds, size, uploaded in self._connection.execute(
                f"SELECT sha256, rank, value, time_seconds, size, uploaded FROM examples {_LEAST_VALUABLE_FIRST}"  # noqa: S608 - a constant
            ):
                yield Candidate(sha256, size, bool(uploaded), (1 - uploaded, rank, value, time_seconds, sha256))

    def pending(self, limit: int) -> tuple[str, ...]:
        """Digests of those neither uploaded nor refused, the most valuable first, at most ``limit``."""
        query = (
            "SELECT sha256 FROM examples WHERE uploaded = 0 AND refused IS NULL "
            "ORDER BY rank DESC, value DESC, time_seconds DESC, sha256 DESC LIMIT ?"
        )
        with self._reported():
            return tuple(sha256 for (sha256,) in self._connection.execute(query, (limit,)))

    def redate(self, before: float, now: float) -> None:
        """Gives examples from before a moment another time; their records keep what was written."""
        with self._transaction() as connection:
            connection.execute("UPDATE examples SET time_seconds = ? WHERE time_seconds < ?", (now, before))

    def older_than(self, time_seconds: float) -> list[str]:
        """Digests of examples taken before a moment, in Unix seconds."""
        query = "SELECT sha256 FROM examples WHERE time_seconds < ?"
        with self._reported():
            return [sha256 for (sha256,) in self._connection.execute(query, (time_seconds,))]

    def replace(self, added: Iterable[Row] = (), removed: Iterable[str] = ()) -> int:
        """Removes and adds rows in one transaction; returns the bytes on disk that the removed ones stood for."""
        freed = 0
        with self._transaction() as connection:
            for sha256 in removed:
                gone = connection.execute("DELETE FROM examples WHERE sha256 = ? RETURNING size", (sha256,)).fetchall()
                freed += sum(size for (size,) in gone)
            connection.executemany(
                "INSERT INTO examples (sha256, rule, rank, value, time_seconds, size) VALUES (?, ?, ?, ?, ?, ?)",
                [(row.sha256, row.rule, row.rank, row.value, row.time_seconds, row.size) for row in added],
            )
        return freed

    def add(self, added: Sequence[Row]) -> None:
        """Adds rows, in batches that keep the log small."""
        for start in range(0, len(added), _BATCH):
            self.replace(added=added[start : start + _BATCH])

    def remove(self, removed: Sequence[str]) -> int:
        """Removes rows, in batches that keep the log small; returns the bytes on disk that they stood for."""
        return sum(self.replace(removed=removed[start : start + _BATCH]) for start in range(0, len(removed), _BATCH))

    def refused(self, limit: int) -> tuple[tuple[str, str], ...]:
        """(digest, reason) of those that the hub does not take, the newest first, at most ``limit``."""
        query = (
            "SELECT sha256, refused FROM examples WHERE refused IS NOT NULL ORDER BY time_seconds DESC, sha256 LIMIT ?"
        )
        with self._reported():
            return tuple(self._connection.execute(query, (limit,)).fetchall())

    def mark_uploaded(self, sha256: str) -> bool:
        """Notes that somebody else has it now; False when it is not here."""
        query = "UPDATE examples SET uploaded = 1, refused = NULL WHERE sha256 = ?"
        with self._transaction() as connection:
            return connection.execute(query, (sha256,)).rowcount > 0

    def mark_refused(self, sha256: str, reason: str) -> bool:
        """Notes that the hub does not take it; False when it is not here or was uploaded."""
        query = "UPDATE examples SET refused = ? WHERE sha256 = ? AND uploaded = 0"
        with self._transaction() as connection:
            return connection.execute(query, (reason, sha256)).rowcount > 0

    def _rank_again(self, connection: sqlite3.Connection) -> None:
        # The ranks may have changed with a new release of the agent.
        for rule, rank in connection.execute("SELECT DISTINCT rule, rank FROM examples").fetchall():
            if rank != rank_of(rule):
                connection.execute("UPDATE examples SET rank = ? WHERE rule = ?", (rank_of(rule), rule))

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
                connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            elif version == 1:
                connection.executescript(_FROM_VERSION_1)
            elif version != _SCHEMA_VERSION:
                raise _UnusableError(f"it has version {version}, this agent knows {_SCHEMA_VERSION}")  # noqa: TRY301 - the
                # connection is closed below like for any other fault
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise _UnusableError(verdict)  # noqa: TRY301 - as above
            self._rank_again(connection)
        except sqlite3.DatabaseError as error:
            connection.close()
            if _primary(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}:
                raise _UnusableError(str(error)) from error
            raise
        except _UnusableError:
            connection.close()
            raise
        return connection

    def _move_aside(self) -> None:
        with reported("move aside", self._path):
            self._path.replace(self._damaged)
            # The log belongs to the damaged file; a new one must not find it.
            self._path.with_name("index.sqlite-wal").unlink(missing_ok=True)
            self._path.with_name("index.sqlite-shm").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reported():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = _primary(error)
            if code in _ERRNO:
                raise storage_error("use", self._path, OSError(_ERRNO[code], str(error))) from error
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise StorageError(
                    f"{self._path} is damaged; restart the agent, which rebuilds it from the files"
                ) from error
            raise StorageError(f"cannot use {self._path}: {error}; restart the agent") from error


class _UnusableError(Exception):
    """The index file is no index of ours or is damaged."""


def _primary(error: sqlite3.Error) -> int:
    # Extended codes carry the primary one in their low byte, https://www.sqlite.org/rescode.html
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
