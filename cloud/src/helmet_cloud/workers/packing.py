# SPDX-License-Identifier: Apache-2.0
"""The model folder that a round leaves: int8 file, float weights, golden frames and a manifest over all of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from helmet_agent.contract import FileReference, InputSpec, ModelManifest, OutputSpec, Thresholds
from helmet_agent.detector import probe
from helmet_agent.durable import make_folder, reported, write_atomic
from helmet_agent.errors import ModelError
from helmet_cloud.evaluation import choose_thresholds, detect_pictures, open_detector
from helmet_cloud.evaluation.figures import IOU_THRESHOLDS
from helmet_cloud.evaluation.matching import match_label
from helmet_cloud.labels import LABELS
from helmet_cloud.training import bundle
from helmet_cloud.training.classes import PAD_VALUE, STRIDES
from helmet_cloud.training.fold import CLASS_LOGIT_OFFSET
from helmet_cloud.training.sources import scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.workers.parameters import Parameters

NAME = "helmet"
FEWEST_OBJECTS = 10
"""Of a label, to choose its threshold by; with fewer it stays that of the model before."""

_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Trained:
    """What a round made, and what it came from.

    Attributes:
        int8: the file that ships.
        weights: float weights, what the next round starts from.
        base: folder of the base model.
        manifest: of the base model; None where it has none.
        dataset: digest of the new pictures.
        validation: pictures that were not trained on, to choose thresholds by; may be empty.
        labelled: pictures of which one becomes the golden frame, where none can be inherited.
    """

    int8: bytes
    weights: bytes
    base: Path
    manifest: ModelManifest | None
    dataset: str
    validation: Sequence[LabelledPicture]
    labelled: Sequence[LabelledPicture]


def pack(folder: Path, trained: Trained, parameters: Parameters, say: Callable[[str], None]) -> ModelManifest:
    """Writes the model folder; the manifest comes last and makes the rest count.

    Raises:
        ModelError: the new model finds the objects of no golden frame and of no labelled picture.
        SourceMissing: a picture is gone.
        StorageError: a file cannot be written.
    """
    make_folder(folder, mode=0o755)
    with reported("remove", folder / bundle.MANIFEST):
        (folder / bundle.MANIFEST).unlink(missing_ok=True)  # no manifest may describe files that are being replaced
    write_atomic(folder / bundle.MODEL, trained.int8, mode=_FILE_MODE)
    write_atomic(folder / bundle.WEIGHTS, trained.weights, mode=_FILE_MODE)
    manifest = _first(trained, parameters)
    bundle.write_manifest(folder, manifest)
    manifest = replace(manifest, thresholds=_thresholds(folder, manifest, parameters, trained.validation))
    bundle.write_manifest(folder, manifest)
    manifest = _with_golden(folder, manifest, trained, say)
    bundle.write_manifest(folder, manifest)
    return manifest


def _first(trained: Trained, parameters: Parameters) -> ModelManifest:
    base, int8 = trained.manifest, trained.int8
    before = base.thresholds.score if base is not None else {}
    scores = {label: min(before.get(label, bundle.SOME_SCORE), parameters.obj_threshold) for label in LABELS}
    return ModelManifest(
        name=base.name if base is not None else NAME,
        release=base.release if base is not None else 0,
        model=FileReference(bundle.MODEL, hashlib.sha256(int8).hexdigest(), len(int8)),
        input=InputSpec(parameters.height, parameters.width, PAD_VALUE),
        outputs=OutputSpec(STRIDES, CLASS_LOGIT_OFFSET),
        labels=LABELS,
        thresholds=Thresholds(scores, parameters.nms_threshold),
        mining=base.mining if base is not None else bundle.MINING,
        memory_bytes=base.memory_bytes if base is not None else 256 << 20,
        parent=base.model.sha256 if base is not None else None,
        dataset=trained.dataset,
    )


def _thresholds(
    folder: Path, manifest: ModelManifest, parameters: Parameters, validation: Sequence[LabelledPicture]
) -> Thresholds:
    """The scores with the best F1 on the validation part, where it holds enough objects of the label."""
    scores = dict(manifest.thresholds.score)
    if validation:
        predictions = detect_pictures(open_detector(folder), validation)
        enough = [
            label
            for label in LABELS
            if match_label(validation, predictions, label, IOU_THRESHOLDS[:1]).objects >= FEWEST_OBJECTS
        ]
        chosen = choose_thresholds(validation, predictions, enough, high=parameters.obj_threshold)
        scores |= {label: round(score, 3) for label, score in chosen.items()}
    return Thresholds(scores, manifest.thresholds.nms_iou)


def _with_golden(folder: Path, manifest: ModelManifest, trained: Trained, say: Callable[[str], None]) -> ModelManifest:
    """The base model's golden frames that the new model still finds; else one of the labelled pictures."""
    inherited = trained.manifest.golden if trained.manifest is not None else ()
    kept = []
    for frame in inherited:
        source = trained.base / frame.picture.name
        with reported("read", source):
            content = source.read_bytes()
        write_atomic(folder / frame.picture.name, content, mode=_FILE_MODE)
        bundle.write_manifest(folder, replace(manifest, golden=(frame,)))
        problems = probe(open_detector(folder), folder)
        if problems:
            say(f"golden frame not inherited: {problems[0]}")
            (folder / frame.picture.name).unlink()
        else:
            kept.append(frame)
    if kept:
        return replace(manifest, golden=tuple(kept))
    say("no golden frame can be inherited; choosing one of the labelled pictures")
    bundle.write_manifest(folder, manifest)
    reasons = []
    for scene in scenes([picture for picture in trained.labelled if picture.boxes]):
        try:
            return bundle.with_golden(folder, manifest, [scene])
        except ModelError as error:
            reasons.append(str(error))
    raise ModelError(reasons[0] if reasons else "no golden frame: no labelled picture holds an object")
