# SPDX-License-Identifier: Apache-2.0
"""Takes a backup, whether the hub runs beside or not.

The database is copied first, by SQLite's own backup, so it is of one moment. Then come the files. What it names was on
the disk at that moment; a picture that housekeeping deleted since is taken out of the copy. The channel may be newer
than the database, never older: the hub writes down what it is about to publish before it does.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import sqlite3
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from helmet_agent.durable import TEMPORARY_PREFIX, reported
from helmet_agent.errors import UsageError
from helmet_cloud.backup.layout import DATABASE, DIGEST_HEADER, LEFT_OUT, PICTURES, SCHEMA, SUMMARY, Chain

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Saved:
    """What a backup holds.

    Attributes:
        files: how many.
        size_bytes: of the archive.
        dropped: pictures that were deleted while it was taken.
    """

    files: int
    size_bytes: int
    dropped: int


def backup(folder: Path, target: Path, now: float) -> Saved:
    """Writes a backup, readable by its owner only, whole or not at all.

    Args:
        folder: of the hub.
        target: the archive; must not be there, and must lie outside of the folder.
        now: Unix time in seconds, written into it.

    Raises:
        UsageError: the target is there, or inside of the folder; or there is no hub.
        StorageError: something cannot be read or written.
    """
    if target.exists():
        raise UsageError(f"{target} is there already: name another file")
    if target.absolute().resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{target} lies in the hub's own folder: name a place outside")
    if not (folder / DATABASE).is_file():
        raise UsageError(f"{folder} holds no {DATABASE}: it is no hub's folder")
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    with reported("write", target):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                chain, dropped = _write(folder, stream, now)
                stream.flush()
                os.fsync(stream.fileno())
                size = stream.tell()
            temporary.rename(target)
            _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return Saved(chain.count, size, dropped)


def _write(folder: Path, stream: BinaryIO, now: float) -> tuple[Chain, int]:
    chain = Chain()
    pictures: set[str] = set()
    with (
        tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder) as scratch,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        copy = Path(scratch) / DATABASE
        _copy_database(folder / DATABASE, copy)
        for name in _files(folder):
            # One that goes while we look is one that the copied database must not name; see below.
            with contextlib.suppress(FileNotFoundError):
                _add(archive, chain, folder / name, name)
                if name.startswith(f"{PICTURES}/"):
                    pictures.add(name[-68:-4])  # digest.jpg
        dropped = _drop_missing(copy, pictures)
        _add(archive, chain, copy, DATABASE)
        summary = {"schema": SCHEMA, "created_seconds": now, "files": chain.count, "sha256": chain.hexdigest()}
        content = json.dumps(summary).encode() + b"\n"
        member = tarfile.TarInfo(SUMMARY)
        member.size, member.mode, member.mtime = len(content), 0o600, now
        archive.addfile(member, io.BytesIO(content))
    return chain, dropped


def _drop_missing(database: Path, pictures: set[str]) -> int:
    """Takes examples out of the copy whose pictures were deleted meanwhile; only those that no data set uses are."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'examples'").fetchone():
            return 0
        rows = connection.execute("SELECT sha256 FROM examples WHERE state = 'pending'")
        missing = [(sha256,) for (sha256,) in rows if sha256 not in pictures]
        connection.executemany("DELETE FROM examples WHERE sha256 = ?", missing)
    return len(missing)


def _copy_database(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as present,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        present.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")


def _files(folder: Path) -> Iterator[str]:
    """Names of the files to keep; links, sockets, locks and temporaries are none."""
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT or path.name.startswith((TEMPORARY_PREFIX, DATABASE, ".")):
            continue
        if path.is_symlink():
            continue
        if path.is_file():
            yield path.name
        elif path.is_dir():
            for place, _, names in os.walk(path):
                for name in sorted(names):
                    found = Path(place) / name
                    if not name.startswith((TEMPORARY_PREFIX, ".lock")) and found.is_file() and not found.is_symlink():
                        yield found.relative_to(folder).as_posix()


def _add(archive: tarfile.TarFile, chain: Chain, path: Path, name: str) -> None:
    with path.open("rb") as stream:  # one opening for digest and content: files are replaced, never changed
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.tell()
        stream.seek(0)
        status = os.fstat(stream.fileno())
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size, status.st_mode & 0o777, status.st_mtime
        member.pax_headers = {DIGEST_HEADER: sha256}
        archive.addfile(member, stream)
    archive.members = []  # type: ignore[attr-defined] # else it remembers every one of them
    chain.add(name, sha256)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
