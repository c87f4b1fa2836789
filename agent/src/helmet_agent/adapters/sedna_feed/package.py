# SPDX-License-Identifier: Apache-2.0
"""A model folder in one file, for carriers that move one file: Sedna copies a model's url, and nothing beside it.

An uncompressed tar, ``manifest.json`` first, then the files that it names. Sedna's copies do not truncate, so a package
may have the end of a longer one behind it: a tar says itself where it ends, and the manifest has the digest of every
file, so neither that tail nor a copy that was caught half way can be taken for a model.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

from helmet_agent.contract import ContractError, ModelManifest
from helmet_agent.contract.golden import MAX_MODEL_BYTES
from helmet_agent.contract.manifest import MAX_MANIFEST_BYTES
from helmet_agent.durable import reported, write_atomic
from helmet_agent.errors import UpdateError

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.contract import FileReference

MANIFEST = "manifest.json"
_MAGIC_AT, _MAGIC = 257, b"ustar"
_MODE = 0o644
_MOST_MEMBERS = 1000


def write_package(folder: Path, into: Path) -> None:
    """Packs a model folder; the same folder gives the same bytes.

    Raises:
        UpdateError: the folder holds no complete model. StorageError: it cannot be read or written.
    """
    with reported("read", folder):
        content = (folder / MANIFEST).read_bytes()
        manifest = _manifest(content, folder / MANIFEST)
        files = {wanted.name: (folder / wanted.name).read_bytes() for wanted in _files(manifest)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in {MANIFEST: content, **files}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), _MODE
            tar.addfile(member, io.BytesIO(data))
    write_atomic(into, packed.getvalue(), mode=_MODE)


def is_package(path: Path) -> bool:
    """Whether a file begins like a package; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_MAGIC_AT + len(_MAGIC))
    except OSError:
        return False
    return head.startswith(MANIFEST.encode() + b"\0") and head.endswith(_MAGIC)


def unpack(path: Path, folder: Path) -> ModelManifest:
    """Takes a package apart; nothing but the manifest and the files that it names is written.

    Args:
        path: the package.
        folder: exists; empty.

    Raises:
        UpdateError: a file is missing or not the one that the manifest names. StorageError: it cannot be written.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            manifest = _take(tar, folder, path)
    except (tarfile.TarError, EOFError) as error:
        raise UpdateError(f"{path}: no package, or cut off: {error}") from error
    except OSError as error:
        raise UpdateError(f"{path}: cannot be read: {error.strerror or error}") from error
    return manifest


def _take(tar: tarfile.TarFile, folder: Path, path: Path) -> ModelManifest:
    first = tar.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > MAX_MANIFEST_BYTES:
        raise UpdateError(f"{path}: no package: it does not begin with {MANIFEST}")
    content = _read(tar, first)
    manifest = _manifest(content, path)
    wanted = {one.name: one for one in _files(manifest)}
    for _ in range(_MOST_MEMBERS):
        if not wanted:
            break
        member = tar.next()
        if member is None:
            raise UpdateError(f"{path}: {next(iter(wanted))} is missing, but the manifest names it")
        if member.name in wanted and member.isreg():
            _place(_read(tar, member), wanted.pop(member.name), folder, path)
    if wanted:
        raise UpdateError(f"{path}: {next(iter(wanted))} is missing, but the manifest names it")
    write_atomic(folder / MANIFEST, content)
    return manifest


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return b"" if stream is None else stream.read(MAX_MODEL_BYTES + 1)


def _place(content: bytes, wanted: FileReference, folder: Path, path: Path) -> None:
    if len(content) != wanted.size_bytes or hashlib.sha256(content).hexdigest() != wanted.sha256:
        raise UpdateError(f"{path}: {wanted.name} is not the file that the manifest names: its size or sha256 differs")
    write_atomic(folder / wanted.name, content)


def _manifest(content: bytes, path: Path) -> ModelManifest:
    try:
        return ModelManifest.from_bytes(content)
    except ContractError as error:
        raise UpdateError(f"{path}: {error}") from error


def _files(manifest: ModelManifest) -> list[FileReference]:
    return [manifest.model, *(frame.picture for frame in manifest.golden)]
