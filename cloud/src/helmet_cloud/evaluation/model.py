# SPDX-License-Identifier: Apache-2.0
"""Evaluates a model file through the very detector that runs on the nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from helmet_agent.adapters.litert import load_float_variant, load_manifest, load_model
from helmet_agent.detector import HelmetDetector
from helmet_agent.errors import ModelError, SourceMissing
from helmet_cloud.evaluation.figures import evaluate_detections
from helmet_cloud.labels import read_picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_agent.contract import Detection
    from helmet_agent.ports import Detector
    from helmet_agent.vision.letterbox import PreparedFrame
    from helmet_cloud.evaluation.report import EvaluationReport
    from helmet_cloud.labels import LabelledPicture

MIN_SCORE = 0.01
"""Where curves begin: low enough that average precision sees all that the model has to say."""

Progress = Callable[[int, int], None]
"""Called after each picture with the number done and the number of all."""


def open_detector(model: Path, threads: int = 1) -> HelmetDetector:
    """Loads a model as a node would.

    Args:
        model: a folder with ``manifest.json``; the .tflite file that the manifest names; or another .tflite file of the
            same layout beside it, such as the float16 variant: the manifest then tells labels and thresholds, while
            the digest is the file's own.
        threads: CPU threads of the network.

    Raises:
        ModelError: missing, damaged, or of the wrong shape; the manifest likewise.
    """
    if not model.exists():
        raise ModelError(f"no model there: {model}")
    if model.is_dir() or load_manifest(model.parent).model.name == model.name:
        return HelmetDetector(load_model(model, threads))
    return HelmetDetector(load_float_variant(model.parent, threads, model.name))


def detect_pictures(
    detector: Detector,
    pictures: Sequence[LabelledPicture],
    *,
    min_score: float = MIN_SCORE,
    progress: Progress | None = None,
) -> list[tuple[Detection, ...]]:
    """What the detector sees in each picture, in their order.

    Args:
        detector: the model.
        pictures: what to look at; labels are not used.
        min_score: smallest score kept, instead of the manifest's thresholds.
        progress: told after each picture.

    Raises:
        SourceMissing: a picture is gone, or has changed its size since its labels were read.
        ModelError: the network failed.
    """
    found: list[tuple[Detection, ...]] = []
    prepared: PreparedFrame | None = None
    for picture in pictures:
        image = read_picture(picture.path)
        if image.shape[:2] != (picture.height, picture.width):
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise SourceMissing(
                f"labels are for {picture.width}x{picture.height} pixels, it has {size}: {picture.path}"
            )
        prepared = detector.prepare(image, prepared)
        found.append(detector.infer(prepared, min_score=min_score))
        if progress is not None:
            progress(len(found), len(pictures))
    return found


def evaluate(
    model: Path,
    pictures: Sequence[LabelledPicture],
    *,
    threads: int = 1,
    min_score: float = MIN_SCORE,
    progress: Progress | None = None,
) -> EvaluationReport:
    """The figures of one model file on labelled pictures; precision, recall and F1 at its manifest's thresholds.

    Args:
        model: as ``open_detector`` takes it.
        pictures: the truth.
        threads: CPU threads of the network; the figures do not depend on them.
        min_score: smallest score that the curves see.
        progress: told after each picture.

    Raises:
        NothingToMeasure: no label has an object in these pictures.
        ModelError: the model cannot be served.
        SourceMissing: a picture is gone.
    """
    detector = open_detector(model, threads)
    manifest = detector.manifest
    return evaluate_detections(
        pictures,
        detect_pictures(detector, pictures, min_score=min_score, progress=progress),
        manifest.labels,
        manifest.thresholds.score,
        model=manifest.model.sha256,
    )
