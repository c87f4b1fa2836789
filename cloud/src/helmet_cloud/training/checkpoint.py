# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: all state of a run in one .npz, whole or not there."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from helmet_agent.durable import make_folder, write_atomic
from helmet_agent.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_LISTS = ("weights", "average", "optimiser")
_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run's state.

    Attributes:
        step: steps done. The random streams need no more: they follow from seed and step (see batches).
        plan: the settings it belongs to, as a dictionary.
        weights: the network's, batch norm statistics included.
        average: their running average.
        optimiser: the optimiser's variables.
        seconds: training time so far, over all calls.
    """

    step: int
    plan: dict[str, Any]
    weights: list[NDArray[Any]]
    average: list[NDArray[Any]]
    optimiser: list[NDArray[Any]]
    seconds: float = 0.0


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an uncompressed .npz, whole or not at all.

    Raises:
        StorageError: it cannot be written; what was there is still there.
    """
    memory = io.BytesIO()
    # an archive's members carry the time; a fixed one makes equal arrays equal files
    with zipfile.ZipFile(memory, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    make_folder(path.parent)
    write_atomic(path, memory.getvalue(), mode=_FILE_MODE)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads what ``write_arrays`` wrote, by name in the order of names.

    Raises:
        ModelError: missing, cut off, or no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in sorted(archive.files)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"weights cannot be read ({error}): {path}") from error


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replaces the file with this checkpoint.

    Raises:
        StorageError: it cannot be written; the previous checkpoint is still there.
    """
    head = json.dumps({"step": checkpoint.step, "plan": checkpoint.plan, "seconds": checkpoint.seconds})
    arrays: dict[str, NDArray[Any]] = {"head": np.array(head)}
    for name in _LISTS:
        arrays |= {f"{name}/{index:04d}": array for index, array in enumerate(getattr(checkpoint, name))}
    write_arrays(path, arrays)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads what ``save_checkpoint`` wrote.

    Raises:
        ModelError: missing, damaged, or no checkpoint.
    """
    arrays = read_arrays(path)
    try:
        head = json.loads(str(arrays["head"]))
        step, plan, seconds = int(head["step"]), dict(head["plan"]), float(head.get("seconds", 0.0))
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"no checkpoint of a training run: {path}") from error
    lists = {name: [array for key, array in arrays.items() if key.startswith(f"{name}/")] for name in _LISTS}
    return Checkpoint(step, plan, **lists, seconds=seconds)
