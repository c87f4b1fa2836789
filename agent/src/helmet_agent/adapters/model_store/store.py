# SPDX-License-Identifier: Apache-2.0
"""The node's models on its disk.

::

    <folder>/<key>/            a manifest and its files; the key is the manifest's sha256
    <folder>/current           symbolic link to the model that serves
    <folder>/last_confirmed    symbolic link to the one to go back to
    <folder>/journal.jsonl     what the updater did and is about to do
    <folder>/downloads/        files on their way, kept over restarts
    <folder>/requests/         what operators ask the running agent for
    <folder>/.lock             held by the process that owns the folder

A model's folder is filled under another name, read back, and renamed. Pointers move by renaming a new link over the
old one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from typing import TYPE_CHECKING, Any

from helmet_agent.adapters.model_store.journal import JournalFile
from helmet_agent.adapters.model_store.requests import Requests
from helmet_agent.contract import ContractError, ModelManifest
from helmet_agent.crash_points import MODEL_FILES_COPIED, MODEL_FILLED, MODEL_IN_PLACE, MODEL_TAKEN_AWAY, nothing
from helmet_agent.durable import TEMPORARY_PREFIX, FolderLock, make_folder, reported, write_atomic
from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from helmet_agent.contract import FileReference
    from helmet_agent.crash_points import Reach
    from helmet_agent.ports import ModelRequest

MANIFEST_NAME = "manifest.json"
POINTERS = ("current", "last_confirmed")
_KEY = re.compile(r"[0-9a-f]{64}\Z")
_CHUNK = 1 << 20


class ModelStore:
    """Implements ``ports.ModelShelf``. One thread at a time.

    Args:
        folder: made when it is not there.
        read_only: look beside the process that owns it; nothing is made, mended or locked.
        reach: told the name of each crash point.

    Raises:
        StorageError: another process owns it, or it cannot be written.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, reach: Reach = nothing) -> None:
        self._folder = folder
        self._reach = reach
        self._lock: FolderLock | None = None
        if not read_only:
            make_folder(folder)
            self._lock = FolderLock(folder)
            self._sweep()
        self._journal = JournalFile(folder / "journal.jsonl", writable=not read_only)
        self.desk = Requests(folder / "requests")

    @staticmethod
    def owned(folder: Path) -> bool:
        """Whether a process owns the folder now."""
        try:
            with (folder / ".lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        """Lets go of the folder; idempotent."""
        if self._lock is not None:
            self._lock.release()

    def journal(self) -> Sequence[Mapping[str, Any]]:
        """The journal's lines, oldest first."""
        return self._journal.lines()

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a line to the journal for good.

        Raises:
            StorageError: it was not added.
        """
        self._journal.append(line)

    def rewrite(self, line: Mapping[str, Any]) -> None:
        """Puts one line in the place of the whole journal.

        Raises:
            StorageError: the journal is as it was.
        """
        self._journal.rewrite(line)

    def pointers(self) -> tuple[str | None, str | None]:
        """The keys that ``current`` and ``last_confirmed`` point to."""
        return self._pointer(POINTERS[0]), self._pointer(POINTERS[1])

    def point(self, current: str, last_confirmed: str) -> None:
        """Moves the two pointers, where they differ.

        Raises:
            StorageError: one was not moved.
        """
        for name, key in zip(POINTERS, (current, last_confirmed), strict=True):
            if self._pointer(name) == key:
                continue
            temporary = self._folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
            with reported("write", self._folder / name):
                temporary.symlink_to(key)
                temporary.rename(self._folder / name)
                _sync(self._folder)

    def folder(self, key: str) -> Path:
        """Where a model lies, or would lie."""
        return self._folder / key

    def metadata_folder(self) -> Path:
        """Where the feed keeps the channel's metadata, made when it is not there.

        Raises:
            StorageError: it cannot be made.
        """
        return self.own_folder("tuf")

    def own_folder(self, name: str) -> Path:
        """A folder beside the models for a feed's own files, made when it is not there.

        Raises:
            StorageError: it cannot be made.
        """
        folder = self._folder / name
        make_folder(folder)
        return folder

    def installed(self) -> list[str]:
        """Keys of the models that are there."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if _KEY.match(path.name) and path.is_dir())

    def manifest(self, key: str) -> ModelManifest:
        """The manifest of an installed model.

        Raises:
            StorageError: it is missing or not the one that the key names.
        """
        path = self.folder(key) / MANIFEST_NAME
        with reported("read", path):
            content = path.read_bytes()
        try:
            if hashlib.sha256(content).hexdigest() == key:
                return ModelManifest.from_bytes(content)
        except ContractError as error:
            raise StorageError(f"{path}: {error}") from error
        raise StorageError(f"{path}: damaged: sha256 differs from the folder's name")

    def damage(self, key: str) -> str | None:
        """What is wrong with an installed model; None when all of its files are those of its manifest."""
        try:
            manifest = self.manifest(key)
        except StorageError as error:
            return str(error)
        for wanted in files_of(manifest):
            path = self.folder(key) / wanted.name
            if not _is(path, wanted):
                return f"{path}: missing or damaged"
        return None

    def download(self, wanted: FileReference) -> Path:
        """Where a file is downloaded to; the folder is made.

        Raises:
            StorageError: the folder cannot be made.
        """
        folder = self._folder / "downloads"
        make_folder(folder)
        return folder / wanted.sha256

    def find(self, wanted: FileReference) -> Path | None:
        """The same file in a model that is installed, whole; None when no model has it."""
        for key in self.installed():
            with contextlib.suppress(StorageError):
                for reference in files_of(self.manifest(key)):
                    path = self.folder(key) / reference.name
                    if reference.sha256 == wanted.sha256 and _is(path, wanted):
                        return path
        return None

    def install(self, content: bytes, manifest: ModelManifest, files: Mapping[str, Path]) -> Path:
        """Puts a model in its folder, whole or not at all; a damaged one that is there is replaced.

        Raises:
            StorageError: it could not be written, or reads back as something else.
        """
        key = hashlib.sha256(content).hexdigest()
        final = self.folder(key)
        if self.damage(key) is None:
            return final
        temporary = self._folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        try:
            make_folder(temporary)
            for wanted in files_of(manifest):
                _copy(files[wanted.name], temporary / wanted.name)
                _check(temporary / wanted.name, wanted, files[wanted.name])
            self._reach(MODEL_FILES_COPIED)
            write_atomic(temporary / MANIFEST_NAME, content)
            self._reach(MODEL_FILLED)
            with reported("write", final):
                if final.exists():
                    final.rename(self._folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
                temporary.rename(final)
                _sync(self._folder)
            self._reach(MODEL_IN_PLACE)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return final

    def clean(self, keep: Collection[str]) -> None:
        """Removes every model but these keys, and all downloads.

        Raises:
            StorageError: something could not be removed.
        """
        for key in self.installed():
            if key not in keep and key not in self.pointers():
                # Renamed first: a crash in the middle leaves no half model under its name.
                gone = self._folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
                with reported("remove", self.folder(key)):
                    self.folder(key).rename(gone)
                    self._reach(MODEL_TAKEN_AWAY)
                    shutil.rmtree(gone)
        downloads = self._folder / "downloads"
        with reported("remove", downloads), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(downloads)

    def requests(self) -> Sequence[ModelRequest]:
        """What operators ask for, oldest first."""
        return self.desk.waiting()

    def answer(self, request: ModelRequest, text: str, *, done: bool) -> None:
        """Takes a request off the list and leaves the answer for whoever asked.

        Raises:
            StorageError: it could not be written.
        """
        self.desk.answer(request, text, done=done)

    def _pointer(self, name: str) -> str | None:
        try:
            target = str((self._folder / name).readlink())
        except OSError:
            return None
        return target if _KEY.match(target) else None

    def _sweep(self) -> None:
        with reported("clean up", self._folder):
            for path in self._folder.iterdir():
                if path.name.startswith(TEMPORARY_PREFIX):
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink(missing_ok=True)


def files_of(manifest: ModelManifest) -> Iterator[FileReference]:
    """The files that belong to a manifest: golden pictures, then the model."""
    yield from (frame.picture for frame in manifest.golden)
    yield manifest.model


def _is(path: Path, wanted: FileReference) -> bool:
    try:
        if path.stat().st_size != wanted.size_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256
    except OSError:
        return False


def _check(path: Path, wanted: FileReference, source: Path) -> None:
    if not _is(path, wanted):
        raise StorageError(f"{source}: reads back as something else than the {wanted.name} that the manifest names")


def _copy(source: Path, target: Path) -> None:
    with reported("write", target):
        with source.open("rb") as reading, target.open("xb") as writing:
            shutil.copyfileobj(reading, writing, _CHUNK)
            writing.flush()
            os.fsync(writing.fileno())
        target.chmod(0o640)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
