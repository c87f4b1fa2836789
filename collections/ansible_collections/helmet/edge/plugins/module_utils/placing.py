# SPDX-License-Identifier: Apache-2.0
"""Putting checked content where it belongs, so that a reader sees the old files or the new ones and never a mixture.

A *slot* is a link to a folder of its own: ``models/deploy_model -> .contents/deploy_model-<key>``; the link is replaced
in one step. *Files* go into a folder that others may use as well, each by a rename of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.helmet.edge.plugins.module_utils import content as reading

if TYPE_CHECKING:
    from collections.abc import Callable

STORE = ".contents"
RECORD = ".content.json"


@dataclass(frozen=True)
class Wanted:
    """What is to be placed.

    Attributes:
        sha256: digest of the content's source (for a folder: of all its names and digests).
        name: file name of the source; its suffix tells an archive from a plain file.
        folder: the part of an archive that is wanted.
        manifest: a JSON file inside whose references are checked; empty for none.
        required: files that must be there.
        max_bytes: unpacked size that is still believed.
    """

    sha256: str
    name: str
    folder: str = ""
    manifest: str = ""
    required: list[str] = field(default_factory=list)
    max_bytes: int = 1 << 30

    @property
    def key(self) -> str:
        """Names this content on disk: the same source read another way is another content."""
        return hashlib.sha256(f"{self.sha256}\n{self.name}\n{self.folder}".encode()).hexdigest()[:16]

    def check(self, folder: Path) -> None:
        """Raises ContentError unless the unpacked folder is complete."""
        for name in self.required:
            if not (folder / name).is_file():
                raise reading.ContentError(f"{self.name} holds no {name}")
        if self.manifest and (folder / self.manifest).exists():
            reading.check_manifest(folder, self.manifest)


class Slot:
    """A link at ``dest`` to the folder that holds its content."""

    def __init__(self, dest: Path) -> None:
        self.dest = dest
        self._store = dest.parent / STORE

    def live_key(self) -> str | None:
        """Key of the content that the slot shows now; None where it shows nothing of ours."""
        if not self.dest.is_symlink():
            return None
        target = Path(os.readlink(self.dest))  # noqa: PTH115 - the link's text, not where it leads
        name, _, key = target.name.rpartition("-")
        return key if target.parent.name == STORE and name == self.dest.name else None

    def holds(self, wanted: Wanted) -> bool:
        """Whether the slot shows this content and every file of it is still what was placed."""
        return self.live_key() == wanted.key and self._record(wanted.key) == _digests(self._folder(wanted.key))

    def check_free(self) -> None:
        """Raises ContentError where something that is not ours stands in the slot's place."""
        if self.dest.is_symlink() or not self.dest.exists():
            return
        if not self.dest.is_dir() or any(self.dest.iterdir()):
            raise reading.ContentError(f"{self.dest} is there and was not placed by this module: move it away first")

    def place(self, archive: Path, wanted: Wanted, own: Callable[[Path], object]) -> None:
        """Unpacks beside, checks, and moves the link last. On ContentError the slot still shows what it showed."""
        self.check_free()
        before = self.live_key()
        self._store.mkdir(mode=0o755, exist_ok=True)
        own(self._store)
        folder = self._folder(wanted.key)
        _unpacked(archive, wanted, folder, own)
        _write_record(self._record_path(wanted.key), _digests(folder), own)
        if self.dest.is_dir() and not self.dest.is_symlink():
            self.dest.rmdir()
        _link(self.dest, f"{STORE}/{folder.name}")
        self._forget_all_but({wanted.key, before or wanted.key})

    def files(self) -> list[Path]:
        """The slot's folder and all in it, to set owners on."""
        real = self.dest.resolve()
        return [real, *sorted(real.rglob("*"))]

    def _folder(self, key: str) -> Path:
        return self._store / f"{self.dest.name}-{key}"

    def _record_path(self, key: str) -> Path:
        return self._store / f"{self.dest.name}-{key}.json"

    def _record(self, key: str) -> dict[str, str] | None:
        return _read_record(self._record_path(key))

    def _forget_all_but(self, keys: set[str]) -> None:
        """The former content stays, for whoever is reading it; older ones and broken attempts go."""
        kept = {path.name for key in keys for path in (self._folder(key), self._record_path(key))}
        for path in self._store.glob(f"{self.dest.name}-*"):
            key = path.name.removeprefix(f"{self.dest.name}-").split(".")[0]
            if path.name not in kept and "-" not in key:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


class Files:
    """Files placed one by one into a folder that may hold others; a record says which are ours."""

    def __init__(self, dest: Path) -> None:
        self.dest = dest
        self._record_path = dest / RECORD

    def holds(self, wanted: Wanted) -> bool:
        """Whether this content was placed last and every file of it is still what was placed."""
        recorded = _read_record(self._record_path) or {}
        ours = {name: digest for name, digest in recorded.items() if name}
        return recorded.get("") == wanted.key and all(
            (self.dest / name).is_file() and reading.sha256_of(self.dest / name) == digest
            for name, digest in ours.items()
        )

    def place(self, archive: Path, wanted: Wanted, own: Callable[[Path], object]) -> None:
        """Unpacks beside, checks, then renames file by file; removes what only the former content had."""
        before = {name for name in _read_record(self._record_path) or {} if name}
        beside = self.dest / f".incoming-{wanted.key}"
        _unpacked(archive, wanted, beside, own)
        after = _digests(beside)
        for name, digest in after.items():
            target = self.dest / name
            if name not in before and target.exists() and reading.sha256_of(target) != digest:
                shutil.rmtree(beside)
                raise reading.ContentError(f"{target} is there and was not placed by this module: move it away first")
        for name in after:
            target = self.dest / name
            for parent in reversed(target.relative_to(self.dest).parents[:-1]):
                (self.dest / parent).mkdir(exist_ok=True)
                own(self.dest / parent)
            (beside / name).replace(target)
        for name in before - set(after):
            (self.dest / name).unlink(missing_ok=True)
        shutil.rmtree(beside)
        _write_record(self._record_path, {"": wanted.key, **after}, own)

    def files(self) -> list[Path]:
        """The placed files, to set owners on."""
        return [self.dest / name for name in _read_record(self._record_path) or {} if name]


def _unpacked(archive: Path, wanted: Wanted, folder: Path, own: Callable[[Path], object]) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    for leftover in (partial, folder):
        if leftover.exists():
            shutil.rmtree(leftover)
    try:
        reading.unpack(archive, wanted.name, partial, folder=wanted.folder, max_bytes=wanted.max_bytes)
        wanted.check(partial)
    except reading.ContentError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for path in (partial, *partial.rglob("*")):
        own(path)
    reading.sync(partial)
    partial.rename(folder)


def _digests(folder: Path) -> dict[str, str]:
    return reading.digests_of(folder) if folder.is_dir() else {}


def _read_record(path: Path) -> dict[str, str] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write_record(path: Path, record: dict[str, str], own: Callable[[Path], object]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    own(partial)
    partial.replace(path)


def _link(link: Path, target: str) -> None:
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(link)
    reading.sync_folder(link.parent)
