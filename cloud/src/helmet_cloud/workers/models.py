# SPDX-License-Identifier: Apache-2.0
"""Where the files of a model lie that Sedna names by one url."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.adapters.litert import load_manifest
from helmet_agent.adapters.sedna_feed import is_package, unpack
from helmet_agent.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.contract import ModelManifest

MANIFEST, WEIGHTS = "manifest.json", "weights.npz"
"""As in training.bundle, which imports TensorFlow."""


def model_folder(url: Path) -> Path:
    """The folder of a model: the url itself, or the folder of the file that it names (``saved_model.pb`` is a slot).

    Raises:
        ModelError: there is no such folder.
    """
    folder = url if url.is_dir() else url.parent
    if not folder.is_dir():
        raise ModelError(f"no model there: {url}")
    return folder


def served_folder(url: Path, unpacked: Path) -> Path:
    """The folder of a model to serve; a package, which is what Sedna copies around, is taken apart first.

    Args:
        url: as ``model_folder``.
        unpacked: a folder for packages.

    Raises:
        ModelError: there is no such model. UpdateError: the package cannot be right.
    """
    if not is_package(url):
        return model_folder(url)
    folder = unpacked / str(len(list(unpacked.iterdir())))
    folder.mkdir()
    unpack(url, folder)
    return folder


def base_model(url: Path) -> tuple[Path, ModelManifest | None]:
    """The float weights that a round starts from, and the manifest beside them where there is one.

    Raises:
        ModelError: there are no weights, or the manifest cannot be right.
    """
    folder = model_folder(url)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ModelError(f"no float weights to start from: {weights}")
    return weights, load_manifest(folder) if (folder / MANIFEST).is_file() else None
