# SPDX-License-Identifier: Apache-2.0
"""Makes a folder of a backup: all of it, verified, or nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from helmet_agent.durable import TEMPORARY_PREFIX, reported
from helmet_agent.errors import UsageError
from helmet_cloud.backup.layout import DATABASE, DIGEST_HEADER, SCHEMA, SUMMARY, BackupDamaged, Chain

_BLOCK = 1 << 20
_SUMMARY_BYTES = 4096


def restore(source: Path, folder: Path) -> int:
    """Restores a backup into a folder that is empty or not there; returns how many files it has.

    Args:
        source: the archive.
        folder: of the hub that is to be.

    Raises:
        UsageError: the folder holds something, or there is no archive.
        BackupDamaged: the archive is none, or not as it was written.
        StorageError: something cannot be read or written.
    """
    if not source.is_file():
        raise UsageError(f"no such file: {source}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty: restore into a new folder, so that nothing is lost")
    scratch = folder.absolute().parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    with reported("write", folder):
        scratch.mkdir(mode=0o700, parents=True)
        try:
            count = _unpack(source, scratch)
            _check_database(scratch / DATABASE)
            for place, _, _ in os.walk(scratch):
                _sync_folder(Path(place))
            scratch.rename(folder)  # over an empty one too
            _sync_folder(scratch.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return count


def _unpack(source: Path, scratch: Path) -> int:
    chain = Chain()
    summary: dict[str, object] | None = None
    try:
        with tarfile.open(source, "r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined] # else it remembers every one of them
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or summary is not None:
                    raise BackupDamaged(f"{source}: {member.name[:200]!r} does not belong into a backup")
                if member.name == SUMMARY:
                    summary = json.loads(content.read(_SUMMARY_BYTES))
                    continue
                sha256 = _write(content, _place(source, scratch, member.name), member.mode)
                if sha256 != member.pax_headers.get(DIGEST_HEADER):
                    raise BackupDamaged(f"{source}: {member.name} was changed or cut off; nothing was restored")
                chain.add(member.name, sha256)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BackupDamaged(f"{source}: no backup, or cut off ({error}); nothing was restored") from error
    expected = {"schema": SCHEMA, "files": chain.count, "sha256": chain.hexdigest()}
    if not isinstance(summary, dict) or {key: summary.get(key) for key in expected} != expected:
        raise BackupDamaged(f"{source}: cut off, or files are missing from it; nothing was restored")
    return chain.count


def _place(source: Path, scratch: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise BackupDamaged(f"{source}: {name[:200]!r} leads out of the folder; nothing was restored")
    path = scratch.joinpath(*parts)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _write(content: IO[bytes], path: Path, mode: int) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        while block := content.read(_BLOCK):
            digest.update(block)
            stream.write(block)
        os.fchmod(stream.fileno(), mode & 0o777)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def _check_database(path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise BackupDamaged(f"the backup's database is damaged ({said[:200]}); nothing was restored")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
