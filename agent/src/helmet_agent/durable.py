# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, also after a power cut. Standard library only; the cloud imports it too.

A new content goes into a temporary file in the same folder, is flushed to the disk (fsync), renamed over the old name
and made permanent by an fsync of the folder. A reader, and a restart after a crash at any point, sees the old or the
new content, never a part. Every ``OSError`` becomes one ``StorageError`` line: what failed, where, and what to do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from typing import TYPE_CHECKING

from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
"""Begins the name of every temporary file; ``sweep_temporaries`` removes what a crash left behind."""

_REASONS = {
    errno.ENOSPC: ("disk full", "free some space or lower the quotas in the configuration"),
    errno.EDQUOT: ("the user's disk quota is used up", "free some space or raise the quota"),
    errno.EROFS: ("read-only file system", "mount it read-write or name another folder in the configuration"),
    errno.EACCES: ("permission denied", "let the service's user write there or name another folder"),
    errno.EPERM: ("operation not permitted", "let the service's user write there or name another folder"),
    errno.ENOENT: ("no such file or folder", "create the folder or correct the path in the configuration"),
    errno.ENOTDIR: ("a part of the path is no folder", "correct the path in the configuration"),
    errno.EEXIST: ("a file is in the way", "move it away or correct the path in the configuration"),
    errno.EISDIR: ("a folder is in the way", "move it away or correct the path in the configuration"),
    errno.EFBIG: ("the file would grow beyond the size limit", "raise the process's file size limit"),
    errno.EIO: ("the disk reports an input/output error", "check the disk and the kernel's log"),
    errno.EMFILE: ("too many open files", "raise the process's limit of open files"),
    errno.ENFILE: ("too many open files on this machine", "raise the system's limit of open files"),
}


def storage_error(doing: str, path: Path, error: OSError) -> StorageError:
    """The operator's line for a failed file operation, such as ``cannot write /spool/x: disk full; free some space``.

    Args:
        doing: the verb, such as ``write``.
        path: what it was done to.
        error: what the operating system said.
    """
    reason, advice = _REASONS.get(error.errno or 0, (error.strerror or str(error), "check the folder"))
    return StorageError(f"cannot {doing} {path}: {reason}; {advice}")


@contextlib.contextmanager
def reported(doing: str, path: Path) -> Iterator[None]:
    """Turns an ``OSError`` of the block into the ``StorageError`` of ``storage_error``."""
    try:
        yield
    except OSError as error:
        raise storage_error(doing, path, error) from error


def make_folder(folder: Path, *, mode: int = 0o750) -> None:
    """Creates a folder with its parents, so that it survives a power cut; nothing happens when it is there.

    Raises:
        StorageError: it cannot be created, or something that is no folder has the name.
    """
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent, mode=mode)
    with reported("create the folder", folder):
        folder.mkdir(mode=mode, exist_ok=True)
        _sync_folder(folder.parent)


def write_atomic(path: Path, content: bytes, *, mode: int = 0o640) -> None:
    """Replaces a file or creates it; when this returns, the content survives a power cut.

    Args:
        path: the file; its folder must exist.
        content: all of the new content.
        mode: permission bits, exactly as given whatever the umask.

    Raises:
        StorageError: it was not written, or the disk failed to make it permanent; the file is the old or the new one,
            whole, and no temporary is left.
    """
    write_atomic_group(path.parent, {path.name: content}, mode=mode)


def write_atomic_group(folder: Path, files: Mapping[str, bytes], *, mode: int = 0o640) -> None:
    """Writes several files of one folder with one fsync of the folder; they appear in the mapping's order.

    Each file is whole or absent. A crash may leave the first few of them, so the one that makes the others count goes
    last. All contents are on the disk before the first name appears.

    Raises:
        StorageError: not all were written; new files that had appeared already may remain, temporaries do not.
    """
    prepared: list[tuple[Path, Path]] = []
    path = folder
    try:
        for name, content in files.items():
            path = folder / name
            temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
            prepared.append((temporary, path))
            _write_new(temporary, content, mode)
        for temporary, path in prepared:
            temporary.rename(path)
        _sync_folder(folder)
    except OSError as error:
        raise storage_error("write", path, error) from error
    finally:
        for temporary, _ in prepared:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def create_atomic(path: Path, content: bytes, *, mode: int = 0o640) -> bool:
    """Creates a file that must not replace another one; when this returns True, the content survives a power cut.

    Returns:
        False when something has the name already; it is left as it is.

    Raises:
        StorageError: it was not written; no temporary is left.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    with reported("write", path):
        try:
            _write_new(temporary, content, mode)
            # Unlike a rename, a link fails when the name is taken, be it since a moment ago.
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    return True


def append_durable(path: Path, content: bytes, *, mode: int = 0o640) -> None:
    """Adds bytes to the end of a file, creating it if need be; when this returns they survive a power cut.

    A crash in the middle may leave a part of ``content`` at the end: callers write lines and cut a last half line off
    when they open the file again.

    Raises:
        StorageError: nothing was added; a part that had been written is cut off again.
    """
    with reported("write", path):
        created = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
        try:
            before = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, content)
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
        if created:
            _sync_folder(path.parent)


def remove_durable(*paths: Path) -> int:
    """Removes files, all in one folder, for good; those that are missing already are fine. Returns how many went.

    Raises:
        StorageError: one could not be removed.
    """
    removed = 0
    for path in paths:
        # Looked at first, since a read-only file system refuses to remove even what is not there.
        with reported("remove", path), contextlib.suppress(FileNotFoundError):
            path.lstat()
            path.unlink()
            removed += 1
    if removed:
        with reported("remove", paths[0]):
            _sync_folder(paths[0].parent)
    return removed


def sweep_temporaries(folder: Path, *, older_than_seconds: float = 0.0) -> int:
    """Removes temporary files that a crash left in a folder, not in its subfolders; returns how many.

    Args:
        folder: where to look; a missing folder has none.
        older_than_seconds: leave younger ones alone; for folders that other processes may be writing to just now.

    Raises:
        StorageError: the folder cannot be read or a file not be removed.
    """
    removed = 0
    newest = time.time() - older_than_seconds
    with reported("clean up", folder), contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.name.startswith(TEMPORARY_PREFIX) and path.is_file() and path.lstat().st_mtime <= newest:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


class FolderLock:
    """A folder that one process at a time may own; the kernel lets go of it when the process ends, however it ends.

    Args:
        folder: an existing folder; the lock is the file ``.lock`` in it.

    Raises:
        StorageError: another process owns it, or the lock file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / ".lock"
        with reported("write", path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, f"{os.getpid()}\n".encode())
            except BlockingIOError as error:
                owner = os.read(self._descriptor, 32).decode(errors="replace").strip()
                os.close(self._descriptor)
                raise StorageError(
                    f"{folder} is in use by another process{f' ({owner})' if owner else ''}; "
                    "stop it or give this one a folder of its own"
                ) from error
            except OSError:
                os.close(self._descriptor)
                raise
        self._open = True

    def release(self) -> None:
        """Lets go; idempotent. The lock file stays: removing it would let two owners in."""
        if self._open:
            self._open = False
            os.close(self._descriptor)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
