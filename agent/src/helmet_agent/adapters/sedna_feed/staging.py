# SPDX-License-Identifier: Apache-2.0
"""Brings an announced model into a folder of our own and makes a whole model of it, whatever the controller copied.

Three things are understood: a package (``package``), a ``.tflite`` file with its ``manifest.json`` and pictures beside
it, and a bare ``.tflite`` file, which gets the manifest and the golden frames of the model that serves: it must then
find the same objects, or it is refused by the probe.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from helmet_agent.adapters.sedna_feed.package import MANIFEST, is_package, unpack
from helmet_agent.contract import ContractError, FileReference, ModelManifest
from helmet_agent.contract.golden import MAX_MODEL_BYTES
from helmet_agent.durable import reported, write_atomic
from helmet_agent.errors import UpdateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = "model.tflite"
CHUNK_BYTES = 1 << 20
_IDENTIFIER_AT, _IDENTIFIER = 4, b"TFL3"  # FlatBuffers' file identifier of a TensorFlow Lite model


@dataclass(frozen=True, slots=True)
class SourceState:
    """What tells whether a file was written to: its size in bytes, and when, in nanoseconds."""

    size: int
    changed: int


def source_state(path: Path) -> SourceState | None:
    """The state of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return SourceState(found.st_size, found.st_mtime_ns)


def copy_source(path: Path, into: Path, cancelled: Callable[[], bool]) -> None:
    """Copies what the controller put there, so that nobody writes to what is looked at from here on.

    Raises:
        UpdateError: it is not there, too long, or the copy was called off. StorageError: it cannot be written.
    """
    try:
        source = path.open("rb")
    except OSError as error:
        raise UpdateError(f"{path}: the announced model cannot be read: {error.strerror}") from error
    left = MAX_MODEL_BYTES
    with source, reported("write", into), into.open("wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            left -= len(chunk)
            if cancelled() or left < 0:
                raise UpdateError(f"{path}: {'the copy was called off' if left >= 0 else 'too long for a model'}")
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())


def make_model(copy: Path, source: Path, folder: Path, serving: Path) -> ModelManifest:
    """Makes a model folder of a copy.

    Args:
        copy: of the announced file.
        source: where it came from; a manifest may lie beside it.
        folder: filled; exists, empty.
        serving: folder of the model that serves.

    Returns:
        Its manifest; ``manifest.json`` in the folder may be another one.

    Raises:
        UpdateError: it is no model, or not the one that its manifest names. StorageError: it cannot be written.
    """
    if is_package(copy):
        return unpack(copy, folder)
    with reported("read", copy):
        content = copy.read_bytes()
    if content[_IDENTIFIER_AT : _IDENTIFIER_AT + len(_IDENTIFIER)] != _IDENTIFIER:
        raise UpdateError(f"{source}: neither a model package nor a .tflite model ({len(content)} bytes)")
    beside = _manifest(source.parent / MANIFEST)
    if beside is not None and (whole := _fitting(content, beside.model)) is not None:
        pictures, manifest = source.parent, beside
    elif beside is not None and source.name == beside.model.name:
        raise UpdateError(f"{source}: not the file that the manifest beside it names: its size or sha256 differs")
    else:
        whole, pictures = content, serving
        ours = _manifest(serving / MANIFEST)
        if ours is None:
            raise UpdateError(f"{serving / MANIFEST}: cannot be read, and {source} comes without a manifest")
        model = FileReference(MODEL, hashlib.sha256(content).hexdigest(), len(content))
        manifest = replace(ours, model=model, parent=None, dataset=None, report={})
    for frame in manifest.golden:
        with reported("read", pictures / frame.picture.name):
            picture = (pictures / frame.picture.name).read_bytes()
        write_atomic(folder / frame.picture.name, picture)
    write_atomic(folder / manifest.model.name, whole)
    return manifest


def empty_folder(folder: Path) -> None:
    """Makes a folder anew.

    Raises:
        StorageError: it cannot be removed or made.
    """
    with reported("write", folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o750)


def _fitting(content: bytes, wanted: FileReference) -> bytes | None:
    """The model that a manifest names, where the bytes begin with it; a copy in place leaves a longer one's end."""
    whole = content[: wanted.size_bytes]
    fits = len(whole) == wanted.size_bytes and hashlib.sha256(whole).hexdigest() == wanted.sha256
    return whole if fits else None


def _manifest(path: Path) -> ModelManifest | None:
    try:
        return ModelManifest.from_bytes(path.read_bytes())
    except OSError:
        return None
    except ContractError as error:
        raise UpdateError(f"{path}: {error}") from error
