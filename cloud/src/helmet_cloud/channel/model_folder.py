# SPDX-License-Identifier: Apache-2.0
"""A model folder as it comes in: complete, every file the one its manifest names; and a copy that stays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.contract import ContractError, ModelManifest
from helmet_agent.durable import make_folder, reported, sweep_temporaries, write_atomic
from helmet_cloud.errors import BadRequest

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.contract import FileReference

MANIFEST, WEIGHTS, FLOAT_MODEL = "manifest.json", "weights.npz", "model_float16.tflite"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A complete model.

    Attributes:
        folder: where it lies.
        manifest: what holds it together.
    """

    folder: Path
    manifest: ModelManifest

    @property
    def sha256(self) -> str:
        """Digest of the int8 file: the model's identity."""
        return self.manifest.model.sha256

    def shipped(self) -> dict[str, bytes]:
        """The files that go to the nodes, by digest: the int8 file and the golden pictures, checked once more.

        Raises:
            BadRequest: one is not there or not the one that the manifest names.
        """
        wanted = [self.manifest.model, *(frame.picture for frame in self.manifest.golden)]
        return {one.sha256: _checked(self.folder, one) for one in wanted}


def open_model(folder: Path, *, need_weights: bool = True) -> ModelFolder:
    """Looks at a model folder.

    Raises:
        BadRequest: something is missing or not what the manifest says; names the file.
    """
    path = folder / MANIFEST
    try:
        with reported("read", path):
            manifest = ModelManifest.from_bytes(path.read_bytes()) if path.is_file() else None
    except ContractError as error:
        raise BadRequest(f"{path}: {error}") from error
    if manifest is None:
        raise BadRequest(f"{folder} is no model folder: it has no {MANIFEST}")
    if not manifest.golden:
        raise BadRequest(f"{path}: golden: expected at least one golden frame, without which no node can try the model")
    if need_weights and not (folder / WEIGHTS).is_file():
        raise BadRequest(f"{folder} has no {WEIGHTS}, from which the next round starts")
    found = ModelFolder(folder, manifest)
    found.shipped()
    return found


def keep_model(model: ModelFolder, models: Path, weights: Path | None = None) -> ModelFolder:
    """Copies a model to ``models/<sha256>``, float weights included; the manifest goes last and makes it count.

    Args:
        model: what to keep.
        models: ``HubHome.models``.
        weights: the float weights, where they do not lie in the folder.

    Raises:
        BadRequest: a file changed since it was looked at.
        StorageError: it cannot be written.
    """
    target = models / model.sha256
    if target == model.folder:
        return model
    make_folder(models, mode=0o700)
    make_folder(target)
    sweep_temporaries(target)
    names = {one.sha256: one.name for one in (model.manifest.model, *(f.picture for f in model.manifest.golden))}
    files = {names[digest]: content for digest, content in model.shipped().items()}
    for name, path in (
        (WEIGHTS, model.folder / WEIGHTS if weights is None else weights),
        (FLOAT_MODEL, model.folder / FLOAT_MODEL),
    ):
        with reported("read", path):
            if path.is_file():
                files[name] = path.read_bytes()
    files[MANIFEST] = model.manifest.to_bytes()
    for name, content in files.items():
        path = target / name
        with reported("read", path):
            same = path.is_file() and path.read_bytes() == content
        if not same:
            write_atomic(path, content)
    return ModelFolder(target, model.manifest)


def _checked(folder: Path, wanted: FileReference) -> bytes:
    path = folder / wanted.name
    with reported("read", path):
        content = path.read_bytes() if path.is_file() else None
    if content is None:
        raise BadRequest(f"{path} is missing, but the manifest names it")
    if len(content) != wanted.size_bytes or hashlib.sha256(content).hexdigest() != wanted.sha256:
        raise BadRequest(f"{path} is not the file that the manifest names: its size or sha256 differs")
    return content
