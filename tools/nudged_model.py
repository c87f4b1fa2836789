# SPDX-License-Identifier: Apache-2.0
"""Nearly the bundled model under another digest: what tests and measurements publish when the answers do not matter."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import shutil
from typing import TYPE_CHECKING

from ai_edge_litert import schema_py_generated as schema

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.contract import FileReference, ModelManifest

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 127
"""Of int8: one more would be the smallest."""

NUDGED = 40
"""So many of some 65,000 weights of one layer move by one of 256 steps: no answer changes by more than a hair."""


def weight_spans(model: bytes) -> list[range]:
    """Where the constants of a .tflite file lie in it, in bytes, the longest first."""
    root = schema.Model.GetRootAsModel(model, 0)
    buffers = [root.Buffers(index) for index in range(root.BuffersLength())]
    filled = [buffer.DataAsNumpy().tobytes() for buffer in buffers if buffer.DataLength()]
    starts = [(model.find(content), len(content)) for content in filled]
    return sorted((range(at, at + size) for at, size in starts), key=len, reverse=True)


def nudged(model: bytes, seed: int) -> bytes:
    """The same file with a few weights of its largest layer one step off; another seed, another file."""
    content = bytearray(model)
    for place in random.Random(seed).sample(weight_spans(model)[0], NUDGED):  # noqa: S311 - which weights, no secret
        content[place] = (content[place] + (-1 if content[place] == LARGEST else 1)) % 256
    return bytes(content)


def nudged_folder(folder: Path, seed: int) -> ModelManifest:
    """Makes ``folder`` a model folder of the nudged bundled model; returns its manifest."""
    shutil.copytree(bundled_model_dir(), folder)
    content = nudged((folder / "model.tflite").read_bytes(), seed)
    (folder / "model.tflite").write_bytes(content)
    manifest = ModelManifest.from_bytes((folder / "manifest.json").read_bytes())
    file = FileReference("model.tflite", hashlib.sha256(content).hexdigest(), len(content))
    manifest = dataclasses.replace(manifest, model=file)
    (folder / "manifest.json").write_bytes(manifest.to_bytes())
    return manifest
