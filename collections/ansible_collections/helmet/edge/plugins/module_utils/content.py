# SPDX-License-Identifier: Apache-2.0
"""Reading content that came from elsewhere: nothing in it may land outside the folder it is unpacked into.

Only plain files and folders are taken. Links, devices, absolute names, ``..`` and repeated names refuse the whole
archive, and so do more bytes than the caller allows. Standard library only: this runs with the node's own Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
MAX_MEMBERS = 10_000
_CHUNK = 1 << 20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


class ContentError(Exception):
    """The content cannot be used; the message says what is wrong with which part of it."""


def is_archive(name: str) -> bool:
    """Tells an archive by its file name: a .tflite file may end in a zip directory and still be one file."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def sha256_of(path: Path) -> str:
    """Digest of one file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digests_of(folder: Path) -> dict[str, str]:
    """Digest of every file under ``folder`` by its relative name, sorted."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def unpack(archive: Path, name: str, into: Path, *, folder: str = "", max_bytes: int) -> None:
    """Puts the archive's files, or the one plain file, into the new folder ``into``.

    Args:
        archive: the file as it lies on this machine.
        name: what it was called where it came from; its suffix says what it is.
        into: a folder that does not exist yet.
        folder: take only what lies under this folder of the archive. Where it is empty and everything lies under one
            lone top folder, that one is taken; ``.`` takes everything as it is.
        max_bytes: the unpacked size that is still believed.

    Raises:
        ContentError: damaged, unsafe, too large or empty. What ``into`` holds by then is the caller's to remove.
    """
    into.mkdir(mode=0o700)
    if not is_archive(name):
        if archive.stat().st_size > max_bytes:
            raise ContentError(f"{name} has {archive.stat().st_size} bytes, more than the {max_bytes} allowed")
        shutil.copyfile(archive, into / _safe(name, name))
        return
    try:
        with _members(archive, name) as members:
            _extract(members, name, into, _wanted(members, folder, name), max_bytes)
    except _DAMAGE as error:
        raise ContentError(f"{name} is damaged: {error}") from error


def check_manifest(folder: Path, manifest: str) -> None:
    """Checks that every file which the manifest names with its sha256 lies beside it, whole.

    Raises:
        ContentError: naming the file that is missing or differs.
    """
    try:
        document = json.loads((folder / manifest).read_bytes())
    except FileNotFoundError as error:
        raise ContentError(f"{manifest} is missing") from error
    except (ValueError, RecursionError) as error:
        raise ContentError(f"{manifest} is no JSON: {error}") from error
    for reference in _references(document):
        path = folder / _safe(reference["name"], manifest)
        if not path.is_file():
            raise ContentError(f"{manifest} names {reference['name']}, which is missing")
        if sha256_of(path) != reference["sha256"]:
            raise ContentError(f"{reference['name']} is not the file that {manifest} names: its sha256 differs")


def sync(folder: Path) -> None:
    """Brings a folder and all in it to the disk, so that a rename after it never shows half of it."""
    for path in (*folder.rglob("*"), folder):
        sync_folder(path)


def sync_folder(path: Path) -> None:
    """Brings one folder's entries (or one file) to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Member:
    """One file of an archive: its name, its size as the archive claims it, and how to open it."""

    def __init__(self, name: str, opener: Any) -> None:
        self.name = name
        self.open = opener


@contextmanager
def _members(archive: Path, name: str) -> Iterator[list[_Member]]:
    if name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            yield _from_zip(opened, name)
    else:
        with tarfile.open(archive) as opened_tar:
            yield _from_tar(opened_tar, name)


def _from_zip(archive: zipfile.ZipFile, name: str) -> list[_Member]:
    found = []
    for info in archive.infolist():
        kind = (info.external_attr >> 16) & 0o170000
        if kind not in (0, 0o100000, 0o040000):
            raise ContentError(f"{name} holds {info.filename!r}, which is no plain file")
        _safe(info.filename, name)
        if not info.is_dir():
            found.append(_Member(info.filename, lambda info=info: archive.open(info)))
    return found


def _from_tar(archive: tarfile.TarFile, name: str) -> list[_Member]:
    found = []
    for info in archive:
        if not info.isfile() and not info.isdir():
            raise ContentError(f"{name} holds {info.name!r}, which is no plain file")
        if info.name not in (".", "./"):
            _safe(info.name, name)
        if info.isfile():
            found.append(_Member(info.name, lambda info=info: archive.extractfile(info)))
    return found


def _safe(member: str, archive: str) -> str:
    """The member's name as a relative path.

    Raises:
        ContentError: it would leave the folder, or it hides what it is.
    """
    parts = [part for part in member.split("/") if part not in ("", ".")]
    if member.startswith("/") or ".." in parts or "\\" in member or "\0" in member or not parts:
        raise ContentError(f"{archive} holds {member!r}, which would land outside its folder")
    return "/".join(parts)


def _wanted(members: list[_Member], folder: str, name: str) -> dict[str, _Member]:
    """The members to take, by the name they get."""
    if len(members) > MAX_MEMBERS:
        raise ContentError(f"{name} holds {len(members)} files, more than the {MAX_MEMBERS} allowed")
    named: dict[str, _Member] = {}
    for member in members:
        target = _safe(member.name, name)
        if target in named:
            raise ContentError(f"{name} holds {target!r} twice")
        named[target] = member
    prefix = _lone_top(named) if not folder else "" if folder == "." else folder.strip("/") + "/"
    taken = {target[len(prefix) :]: member for target, member in named.items() if target.startswith(prefix)}
    if not taken:
        raise ContentError(f"{name} holds no file" + (f" under {folder!r}" if folder else ""))
    return taken


def _lone_top(named: dict[str, _Member]) -> str:
    tops = {target.split("/", 1)[0] + "/" if "/" in target else "" for target in named}
    return tops.pop() if len(tops) == 1 else ""


def _extract(members: list[_Member], name: str, into: Path, wanted: dict[str, _Member], max_bytes: int) -> None:
    left = max_bytes
    for target, member in wanted.items():
        path = into / target
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, path.open("xb") as sink:
                left = _copy(source, sink, left)
        except (FileExistsError, NotADirectoryError) as error:
            raise ContentError(f"{name} holds {target!r} both as a file and as a folder") from error
        if left < 0:
            raise ContentError(f"{name} unpacks to more than the {max_bytes} bytes allowed ({len(members)} files)")


def _copy(source: IO[bytes], sink: IO[bytes], left: int) -> int:
    while left >= 0 and (chunk := source.read(_CHUNK)):
        left -= len(chunk)
        sink.write(chunk)
    return left


def _references(document: Any) -> Iterator[dict[str, str]]:
    if isinstance(document, dict):
        if isinstance(document.get("name"), str) and isinstance(document.get("sha256"), str):
            yield document
        for value in document.values():
            yield from _references(value)
    elif isinstance(document, list):
        for value in document:
            yield from _references(value)
