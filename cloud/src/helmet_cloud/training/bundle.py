# SPDX-License-Identifier: Apache-2.0
"""A model folder: the files of one model with the manifest that holds them together.

``model.tflite`` (int8, what ships), ``model_float16.tflite`` (the same network in float, to compare), ``weights.npz``
(what a later round starts from), ``golden_*`` pictures and ``manifest.json``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from helmet_agent.contract import (
    FileReference,
    GoldenBox,
    GoldenFrame,
    InputSpec,
    MiningRule,
    ModelManifest,
    OutputSpec,
    Thresholds,
)
from helmet_agent.durable import make_folder, write_atomic
from helmet_agent.errors import ModelError
from helmet_cloud.evaluation import choose_thresholds, detect_pictures, open_detector
from helmet_cloud.labels import LABELS
from helmet_cloud.training.classes import INPUT_HEIGHT, INPUT_WIDTH, PAD_VALUE, STRIDES
from helmet_cloud.training.fold import CLASS_LOGIT_OFFSET

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_agent.contract import Detection
    from helmet_cloud.labels import LabelledPicture

MODEL, FLOAT_MODEL, WEIGHTS, MANIFEST = "model.tflite", "model_float16.tflite", "weights.npz", "manifest.json"

NMS_IOU = 0.4
SOME_SCORE = 0.25
"""Threshold of a manifest whose thresholds have not been chosen yet, and of classes without labelled objects."""

HIGHEST_SCORE = 0.3
"""A missed bare head costs more than a box too many, which events over several frames forgive; and what is far away, or
on a new site, scores lower than what thresholds are chosen on."""

MINING = MiningRule("IBT", {"threshold_img": "0.9", "threshold_box": "0.9"})
"""Sedna's own example of the rule, as in the job that this project serves."""

GOLDEN_IOU, GOLDEN_SCORE = 0.5, 0.1
GOLDEN_IOU_MARGIN, GOLDEN_SCORE_MARGIN = 0.1, 0.15
"""How much better than the limit a golden box must be found when it is chosen. CPU kernels (x86, ARM) may differ by an
int8 step or two, which moves a score by some .02 and an IoU by some .03; a golden frame must never fail for that."""

_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from.

    Attributes:
        name: of the model, for people.
        release: of its first publication.
        dataset: digest of what it was trained on.
        parent: digest of the model that training started from; None for the base model.
    """

    name: str
    release: int
    dataset: str
    parent: str | None = None


def reference(path: Path) -> FileReference:
    """Name, digest and size of a file."""
    content = path.read_bytes()
    return FileReference(path.name, hashlib.sha256(content).hexdigest(), len(content))


def write_manifest(folder: Path, manifest: ModelManifest) -> None:
    """Puts the manifest beside its model: last, since it makes the rest count.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomic(folder / MANIFEST, manifest.to_bytes(), mode=_FILE_MODE)


def first_manifest(folder: Path, origin: Origin, model: str = MODEL) -> ModelManifest:
    """A manifest for the ``model`` in ``folder``, still without chosen thresholds, golden frames and figures."""
    manifest = ModelManifest(
        name=origin.name,
        release=origin.release,
        model=reference(folder / model),
        input=InputSpec(INPUT_HEIGHT, INPUT_WIDTH, PAD_VALUE),
        outputs=OutputSpec(STRIDES, CLASS_LOGIT_OFFSET),
        labels=LABELS,
        thresholds=Thresholds(dict.fromkeys(LABELS, SOME_SCORE), NMS_IOU),
        mining=MINING,
        parent=origin.parent,
        dataset=origin.dataset,
    )
    write_manifest(folder, manifest)
    return manifest


def with_thresholds(folder: Path, manifest: ModelManifest, validation: Sequence[LabelledPicture]) -> ModelManifest:
    """The manifest with the thresholds, up to HIGHEST_SCORE, that give the shipped file its best F1 on validation.

    Raises:
        ModelError: the model cannot be served.
        SourceMissing: a picture is gone.
    """
    predictions = detect_pictures(open_detector(folder / MODEL), validation)
    scores = choose_thresholds(validation, predictions, manifest.labels, high=HIGHEST_SCORE)
    rounded = {label: round(score, 3) for label, score in scores.items()}
    return replace(manifest, thresholds=Thresholds(rounded, NMS_IOU))


def with_golden(folder: Path, manifest: ModelManifest, scenes: Sequence[Sequence[LabelledPicture]]) -> ModelManifest:
    """The manifest with one golden frame a scene, the one whose labels this model finds most surely; pictures copied.

    The expected boxes are the labels, never the model's own answer.

    Raises:
        ModelError: a scene has no picture in which every labelled object is found with a margin.
        SourceMissing: a picture is gone.
        StorageError: a picture cannot be copied.
    """
    detector = open_detector(folder / MODEL)
    golden = []
    for scene in scenes:
        found = detect_pictures(detector, scene, min_score=GOLDEN_SCORE)
        sure = [_sureness(picture, seen) for picture, seen in zip(scene, found, strict=True)]
        best = int(np.argmax(sure))
        if sure[best] <= 0.0:
            raise ModelError(f"no golden frame: the model misses an object in every picture like {scene[best].path}")
        golden.append(_golden_frame(folder, scene[best]))
    return replace(manifest, golden=tuple(golden))


def _golden_frame(folder: Path, picture: LabelledPicture) -> GoldenFrame:
    copy = folder / f"golden_{picture.path.name}"
    make_folder(folder)
    write_atomic(copy, picture.path.read_bytes(), mode=_FILE_MODE)
    edges = [tuple(round(edge, 2) for edge in mark.box) for mark in picture.boxes]
    boxes = [
        GoldenBox(mark.label, (box[0], box[1], box[2], box[3])) for mark, box in zip(picture.boxes, edges, strict=True)
    ]
    return GoldenFrame(reference(copy), tuple(boxes), GOLDEN_IOU, GOLDEN_SCORE)


def _sureness(picture: LabelledPicture, found: Sequence[Detection]) -> float:
    """By how much the weakest labelled object beats the margins; 0 or less where one is missed or barely found."""
    worst = 1.0
    for mark in picture.boxes:
        fits = [
            min(
                _overlap(mark.box, seen.box) - GOLDEN_IOU - GOLDEN_IOU_MARGIN,
                seen.score - GOLDEN_SCORE - GOLDEN_SCORE_MARGIN,
            )
            for seen in found
            if seen.label == mark.label
        ]
        worst = min([worst, max(fits, default=-1.0)])
    return worst if picture.boxes else -1.0


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / whole if whole > 0.0 else 0.0
