# SPDX-License-Identifier: Apache-2.0
"""Pictures in, detections out: letterbox, network and decode as one object, for the pipeline and for evaluation."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from helmet_agent.errors import AgentError, ModelError
from helmet_agent.vision.decode import Decoder
from helmet_agent.vision.letterbox import Letterbox
from helmet_agent.vision.nms import iou_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_agent.contract import Detection, GoldenFrame, ModelManifest
    from helmet_agent.ports import BgrImage, Detector, InferenceModel, RawOutput
    from helmet_agent.vision.letterbox import LetterboxTransform, PreparedFrame


class HelmetDetector:
    """Implements ``ports.Detector`` over any network that follows its manifest.

    ``prepare`` may run in any thread, ``run`` belongs to one thread at a time, and so does ``decode``.

    Args:
        model: the loaded network.
    """

    def __init__(self, model: InferenceModel) -> None:
        self._model = model
        spec = model.manifest.input
        self._letterbox = Letterbox(spec.height, spec.width, spec.pad_value)
        self._decoder = Decoder(model.manifest)

    @property
    def manifest(self) -> ModelManifest:
        """What belongs to the weights."""
        return self._model.manifest

    def another(self) -> HelmetDetector:
        """The same network with a decoder of its own, for another thread; the network lets one in at a time."""
        return HelmetDetector(self._model)

    def prepare(self, image: BgrImage, reuse: PreparedFrame | None = None) -> PreparedFrame:
        """Letterboxes a picture ``(height, width, 3)``, uint8, BGR, into the buffers of ``reuse`` when given.

        Raises:
            ValueError: the array is no such picture.
        """
        return self._letterbox.prepare(image, reuse)

    def run(self, prepared: PreparedFrame) -> Sequence[RawOutput]:
        """The network alone on a prepared frame.

        Raises:
            ModelError: the network failed.
        """
        return self._model.infer(prepared.pixels)

    def decode(
        self, outputs: Sequence[RawOutput], transform: LetterboxTransform, min_score: float | None = None
    ) -> tuple[Detection, ...]:
        """Detections in source pixels, best score first.

        Args:
            outputs: what ``run`` returned.
            transform: of the prepared frame.
            min_score: replaces the manifest's thresholds, in [0, 1].

        Raises:
            ModelError: the outputs are NaN or of another shape.
        """
        return self._decoder.decode(outputs, transform, min_score)

    def infer(self, prepared: PreparedFrame, min_score: float | None = None) -> tuple[Detection, ...]:
        """``run`` and ``decode`` in one.

        Raises:
            ModelError: the network failed, or its outputs are NaN or of another shape.
        """
        return self.decode(self.run(prepared), prepared.transform, min_score)

    def detect(self, image: BgrImage, min_score: float | None = None) -> tuple[Detection, ...]:
        """``prepare`` and ``infer`` in one, for single pictures; a stream saves time by reusing its buffers."""
        return self.infer(self.prepare(image), min_score)


def probe(detector: Detector, folder: Path) -> list[str]:
    """Looks at the golden frames of a model and says what is wrong with it.

    Every labelled box of a golden frame must be found again with its label, at least ``min_iou`` of overlap and
    ``min_score``; a detection serves one label only.

    Args:
        detector: with the model under test.
        folder: where its manifest and the golden pictures lie.

    Returns:
        One line for each problem; empty when the model may serve. A manifest without golden frames is one problem.
    """
    golden = detector.manifest.golden
    if not golden:
        return ["manifest has no golden frames: nothing shows that the model works here"]
    return [problem for frame in golden for problem in _probe_frame(detector, frame, folder / frame.picture.name)]


def _probe_frame(detector: Detector, frame: GoldenFrame, path: Path) -> list[str]:
    name = frame.picture.name
    try:
        found = detector.infer(detector.prepare(_read_picture(frame, path)), frame.min_score)
    except AgentError as error:
        return [f"{name}: {error}"]
    problems: list[str] = []
    used: set[int] = set()
    for wanted in frame.boxes:
        rivals = [index for index, one in enumerate(found) if one.label == wanted.label and index not in used]
        boxes = np.array([found[index].box for index in rivals], np.float64).reshape(-1, 4)
        overlap = iou_matrix(boxes, np.array([wanted.box], np.float64))[:, 0]
        best = int(np.argmax(overlap)) if rivals else -1
        if rivals and overlap[best] >= frame.min_iou:
            used.add(rivals[best])
            continue
        near = f"the nearest overlaps by {overlap[best]:.2f}" if rivals else "there is none at all"
        place = ", ".join(f"{edge:.0f}" for edge in wanted.box)
        problems.append(f"{name}: no {wanted.label} at {place} with overlap {frame.min_iou:g} or more: {near}")
    return problems


def _read_picture(frame: GoldenFrame, path: Path) -> BgrImage:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"golden picture cannot be read: {error.strerror}: {path}") from error
    if hashlib.sha256(content).hexdigest() != frame.picture.sha256:
        raise ModelError(f"golden picture is not the one in the manifest (sha256 differs): {path}")
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ModelError(f"golden picture is no readable picture: {path}")
    return np.asarray(image, np.uint8)
