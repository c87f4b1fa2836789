# SPDX-License-Identifier: Apache-2.0
"""The folders of labelled pictures that the base model is made from and measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.errors import UsageError
from helmet_cloud.labels import read_yolo
from helmet_cloud.training.classes import HEADS
from helmet_cloud.training.dataset import leave_out, split
from helmet_cloud.training.missing_heads import read_head_points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.training.missing_heads import HeadPoint

START_FILE = "models/yolox_nano/yolox_nano.onnx"
ANNOTATIONS = "labels_4class"

# No source labels a helmet that nobody wears: the class "helmet" waits for the data of a later round.
_ALL = HEADS | {"person"}


@dataclass(frozen=True, slots=True)
class Source:
    """A folder with ``images/`` and ``labels_4class/`` (YOLO).

    Attributes:
        folder: below DATA.
        complete: labels of which every object has a box.
        trained: whether the base model learns from it; others only measure it.
        head_points: a file below the folder that points at heads, boxed or not; see missing_heads.
    """

    folder: str
    complete: frozenset[str]
    trained: bool
    head_points: str | None = None


COMPLETE = Source("hard_hat_workers/complete", _ALL, trained=True, head_points="person_wearing_coco.json")
HEADS_ONLY = Source("hard_hat_workers/extra_heads_only", HEADS, trained=True)
NEW_SITE = Source("sfchd_cctv", _ALL, trained=False)
"""Kept out of the base model: it is the new site that the loop of later rounds proves itself on."""

FIXTURE = Source("clean_ccby_fixture", _ALL, trained=False)
"""Free pictures (CC BY 4.0): the only ones that may be shown or shipped."""

SOURCES = (COMPLETE, HEADS_ONLY, NEW_SITE, FIXTURE)


@dataclass(frozen=True, slots=True)
class BaseData:
    """The base model's pictures.

    Attributes:
        training: what it learns from.
        validation: of the trained sources, never trained on; thresholds are chosen here.
        measured: by source, what the figures are computed on: the validation part of trained sources, else all.
        scenes: the free pictures by clip, for golden frames.
        head_points: by file name, heads that somebody pointed at.
    """

    training: list[LabelledPicture]
    validation: list[LabelledPicture]
    measured: dict[Source, list[LabelledPicture]]
    scenes: list[list[LabelledPicture]]
    head_points: dict[str, list[HeadPoint]]


def read_source(data: Path, source: Source, say: Callable[[str], None]) -> list[LabelledPicture]:
    """A source's pictures; problems in its labels are told and left out.

    Raises:
        UsageError: there is not one labelled picture.
        SourceMissing: the folder is not there.
    """
    found = read_yolo(data / source.folder, complete=source.complete, annotations=ANNOTATIONS)
    for problem in found.problems:
        say(f"left out: {problem}")
    if not found.pictures:
        raise UsageError(f"no labelled pictures (expected images/ and {ANNOTATIONS}/): {data / source.folder}")
    return list(found.pictures)


def read_base_data(data: Path, say: Callable[[str], None], *, leave_out_person: bool = False) -> BaseData:
    """Reads and splits everything below DATA.

    Args:
        data: the folder.
        say: takes problems and progress.
        leave_out_person: train heads only, whatever the labels say about persons; their file's head points go too.

    Raises:
        UsageError: a source has no labelled pictures.
        SourceMissing: a source is not there.
    """
    found = {source: read_source(data, source, say) for source in SOURCES}
    if leave_out_person:
        found = {source: leave_out(pictures, "person") for source, pictures in found.items()}
    training, validation = split([picture for s in SOURCES if s.trained for picture in found[s]])
    held_out = {picture.path for picture in validation}
    measured = {
        source: [picture for picture in pictures if not source.trained or picture.path in held_out]
        for source, pictures in found.items()
    }
    for source in SOURCES:
        use = "trained on" if source.trained else "measured only"
        say(f"{source.folder}: {len(found[source])} pictures, {use}, {len(measured[source])} to measure")
    points: dict[str, list[HeadPoint]] = {}
    for source in SOURCES:
        if source.head_points is not None and not leave_out_person:
            points |= read_head_points(data / source.folder / source.head_points)
    return BaseData(training, validation, measured, scenes(found[FIXTURE]), points)


def scenes(pictures: list[LabelledPicture]) -> list[list[LabelledPicture]]:
    """Pictures by the clip they come from: the same name but for the frame number at its end."""
    clips: dict[str, list[LabelledPicture]] = {}
    for picture in pictures:
        clips.setdefault(picture.path.stem.rstrip("0123456789"), []).append(picture)
    return [clips[name] for name in sorted(clips)]
