# SPDX-License-Identifier: Apache-2.0
"""Networks in LiteRT: the one place that knows ``ai_edge_litert``."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import threading
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from helmet_agent.contract import ContractError, FileReference, ModelManifest
from helmet_agent.detector import probe
from helmet_agent.errors import ManifestError, ModelError
from helmet_agent.ports import RawOutput
from helmet_agent.vision.decode import check_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "FLOAT_NAME",
    "MANIFEST_NAME",
    "LiteRtModel",
    "bundled_model_dir",
    "load_float_variant",
    "load_manifest",
    "load_model",
    "probe",  # knows nothing of LiteRT, but whoever loads a model wants to try it next
]

MANIFEST_NAME = "manifest.json"
FLOAT_NAME = "model_float16.tflite"
_LONGEST_REASON = 160


def bundled_model_dir() -> Path:
    """The folder of the model that ships with the agent."""
    return Path(str(resources.files("helmet_agent"))) / "assets" / "model"


def load_manifest(folder: Path) -> ModelManifest:
    """Reads ``manifest.json`` of a model folder.

    Raises:
        ManifestError: it is missing, unreadable, or a field cannot be right.
    """
    path = folder / MANIFEST_NAME
    try:
        return ModelManifest.from_bytes(path.read_bytes())
    except FileNotFoundError as error:
        raise ManifestError(f"no {MANIFEST_NAME} beside the model, so nobody knows its classes: {path}") from error
    except OSError as error:
        raise ManifestError(f"manifest cannot be read: {error.strerror}: {path}") from error
    except ContractError as error:
        raise ManifestError(f"{path}: {error}") from error


def load_model(path: Path, threads: int = 1) -> LiteRtModel:
    """Loads the model that a manifest describes, after its size and digest were compared.

    Args:
        path: a folder with a manifest and its model, or a .tflite file with ``manifest.json`` beside it.
        threads: CPU threads of the network, at least 1.

    Raises:
        ManifestError: the manifest is missing or cannot be right.
        ModelError: the file is missing, damaged, not the one in the manifest, or of the wrong shape.
    """
    if not path.exists():
        raise ModelError(f"no model there: {path}")
    folder = path if path.is_dir() else path.parent
    manifest = load_manifest(folder)
    file = folder / manifest.model.name if path.is_dir() else path
    content = _read(file)
    if len(content) != manifest.model.size_bytes:
        raise ModelError(
            f"model has {len(content)} bytes, its manifest says {manifest.model.size_bytes}: truncated or another "
            f"model, copy it again: {file}"
        )
    if hashlib.sha256(content).hexdigest() != manifest.model.sha256:
        raise ModelError(f"model is damaged or not the one in its manifest (sha256 differs), copy it again: {file}")
    return LiteRtModel(content, manifest, threads, str(file))


def load_float_variant(folder: Path, threads: int = 1, name: str = FLOAT_NAME) -> LiteRtModel:
    """Loads the float sibling of a model, for evaluation and comparison; never served.

    It takes the same pictures as float32 and has the same outputs unquantised. No manifest holds its digest, so its
    own stands in the returned model's manifest: records name the file that was really used.

    Raises:
        ManifestError: the folder's manifest is missing or cannot be right.
        ModelError: the file is missing, damaged or of the wrong shape.
    """
    manifest = load_manifest(folder)
    content = _read(folder / name)
    reference = FileReference(name, hashlib.sha256(content).hexdigest(), len(content))
    return LiteRtModel(content, dataclasses.replace(manifest, model=reference), threads, str(folder / name))


class LiteRtModel:
    """Implements ``ports.InferenceModel``. Calls from several threads wait for one another.

    XNNPACK, LiteRT's optimised CPU kernels, is on by default. At load the library writes one line, "INFO: Created
    TensorFlow Lite XNNPACK delegate for CPU.", to standard error; it offers no way to turn that off (its log level is
    not exported to Python, and no environment variable sets it), and taking the whole process's standard error away
    meanwhile could swallow somebody's error.

    Args:
        content: the flatbuffer.
        manifest: what belongs to it.
        threads: CPU threads, at least 1.
        name: how the file is called in errors.

    Raises:
        ModelError: it is no LiteRT model, or its inputs or outputs are not those of the manifest.
    """

    def __init__(self, content: bytes, manifest: ModelManifest, threads: int, name: str) -> None:
        self._manifest = manifest
        self._name = name
        self._lock = threading.Lock()
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"no LiteRT model, or one that cannot run here ({_one_line(error)}): {name}") from error
        self._input = self._checked_input()
        self._outputs = self._checked_outputs()
        self._shape = (manifest.input.height, manifest.input.width, 3)
        # A view of the interpreter's own memory, made anew for every picture: it refuses to run while one is held.
        self._input_view = self._interpreter.tensor(self._input["index"])

    @property
    def manifest(self) -> ModelManifest:
        """What belongs to the weights; for a float variant with that file's own digest."""
        return self._manifest

    def infer(self, pixels: NDArray[np.uint8]) -> Sequence[RawOutput]:
        """Runs the network on one letterboxed picture ``(height, width, 3)``, uint8, BGR.

        Returns the outputs in the file's order: copies, which stay valid.

        Raises:
            ModelError: the picture has another size, or the run failed.
        """
        if pixels.shape != self._shape or pixels.dtype != np.uint8:
            raise ModelError(f"expected pixels uint8 {list(self._shape)}, found {pixels.dtype} {list(pixels.shape)}")
        with self._lock:
            if self._input["dtype"] is np.int8:
                # pixel - 128 is the flipped top bit: one pass over the bytes, nothing is widened or copied.
                np.bitwise_xor(pixels, 0x80, out=self._input_view()[0].view(np.uint8))
            else:
                np.copyto(self._input_view()[0], pixels)
            try:
                self._interpreter.invoke()
                values = [self._interpreter.get_tensor(detail["index"])[0] for detail in self._outputs]
            except (ValueError, RuntimeError) as error:
                raise ModelError(f"inference failed ({_one_line(error)}): {self._name}") from error
        return [RawOutput(value, *_quantisation(detail)) for value, detail in zip(values, self._outputs, strict=True)]

    def invoke_repeatedly(self, times: int) -> int:
        """Runs the bare network so often on whatever its input holds, nothing around it: a yardstick."""
        with self._lock:
            for _ in range(times):
                self._interpreter.invoke()
        return times

    def _checked_input(self) -> dict[str, Any]:
        details: list[dict[str, Any]] = self._interpreter.get_input_details()
        if len(details) != 1:
            raise ModelError(f"expected one input, found {len(details)}: {self._name}")
        found = details[0]
        spec = self._manifest.input
        want, have = [1, spec.height, spec.width, 3], [int(side) for side in found["shape"]]
        if have != want:
            raise ModelError(f"model input: expected shape {want}, found {have}: {self._name}")
        if found["dtype"] is np.int8:
            if tuple(found["quantization"]) != (1.0, -128):
                raise ModelError(
                    f"model input: expected scale 1 and zero point -128 (pixel - 128), found "
                    f"{found['quantization']}: {self._name}"
                )
        elif found["dtype"] is not np.float32:
            raise ModelError(f"model input: expected int8 or float32, found {_type_name(found)}: {self._name}")
        return found

    def _checked_outputs(self) -> list[dict[str, Any]]:
        details: list[dict[str, Any]] = self._interpreter.get_output_details()
        try:
            check_outputs([detail["shape"] for detail in details], self._manifest)
        except ModelError as error:
            raise ModelError(f"{error}: {self._name}") from None
        for index, detail in enumerate(details):
            scale, zero_point = _quantisation(detail)
            if detail["dtype"] not in (np.int8, np.float32):
                raise ModelError(
                    f"model output {index}: expected int8 or float32, found {_type_name(detail)}: {self._name}"
                )
            if not (math.isfinite(scale) and scale > 0.0 and -128 <= zero_point <= 127):  # noqa: PLR2004 - int8
                raise ModelError(f"model output {index}: unusable quantisation {scale}, {zero_point}: {self._name}")
        return details


def _quantisation(detail: dict[str, Any]) -> tuple[float, int]:
    if detail["dtype"] is not np.int8:
        return 1.0, 0
    scale, zero_point = detail["quantization"]
    return float(scale), int(zero_point)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"no model file there: {path}") from error
    except OSError as error:
        raise ModelError(f"model cannot be read: {error.strerror}: {path}") from error


def _type_name(detail: dict[str, Any]) -> str:
    return str(np.dtype(detail["dtype"]))


def _one_line(error: Exception) -> str:
    # XNNPACK strings its complaints together without end; the first says enough.
    return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
