# SPDX-License-Identifier: Apache-2.0
"""The formats by name, behind one reader and one writer."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from helmet_agent.durable import make_folder
from helmet_cloud.labels.checks import BESIDE
from helmet_cloud.labels.coco import read_coco, write_coco
from helmet_cloud.labels.labelstudio import read_labelstudio, write_labelstudio
from helmet_cloud.labels.model import LABELS, LabelledPicture, LabelProblem, LabelSet
from helmet_cloud.labels.sedna import read_sedna, write_sedna
from helmet_cloud.labels.yolo import ANNOTATIONS, PICTURES, read_yolo, write_yolo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_cloud.labels.checks import Shelf
    from helmet_cloud.labels.classes import ClassMap


class LabelFormat(StrEnum):
    """Annotation formats; the value is the name on the command line."""

    SEDNA = "sedna"
    YOLO = "yolo"
    COCO = "coco"
    LABELSTUDIO = "labelstudio"


def read_labels(
    label_format: LabelFormat,
    path: Path,
    classes: ClassMap | None = None,
    *,
    complete: frozenset[str] = frozenset(LABELS),
    annotations: str = ANNOTATIONS,
    shelf: Shelf = BESIDE,
) -> LabelSet:
    """Reads annotations of any format; see the format's own reader.

    Args:
        label_format: what ``path`` holds.
        path: the file (Sedna, COCO, Label Studio) or the folder (YOLO).
        classes: meaning of ids and names.
        complete: labels of which every object has a box.
        annotations: YOLO only: name of the folder beside ``images/``.
        shelf: where the pictures lie.

    Raises:
        SourceMissing: it is not there or cannot be read.
    """
    if label_format is LabelFormat.YOLO:
        return read_yolo(path, classes, complete=complete, annotations=annotations, shelf=shelf)
    if label_format is LabelFormat.SEDNA:
        return read_sedna(path, classes, complete=complete, shelf=shelf)
    read = read_coco if label_format is LabelFormat.COCO else read_labelstudio
    return read(path, classes, complete=complete, shelf=shelf)


def write_labels(
    label_format: LabelFormat, path: Path, pictures: Sequence[LabelledPicture]
) -> tuple[LabelProblem, ...]:
    """Writes annotations in any format, creating the folder; returns what could not be carried.

    Raises:
        StorageError: something cannot be written.
    """
    make_folder(path if label_format is LabelFormat.YOLO else path.parent, mode=0o755)
    if label_format is LabelFormat.YOLO:
        return write_yolo(path, pictures)
    if label_format is LabelFormat.LABELSTUDIO:
        return write_labelstudio(path, pictures)
    write = write_sedna if label_format is LabelFormat.SEDNA else write_coco
    return write(path, pictures)


def picture_folder(label_format: LabelFormat, path: Path) -> Path:
    """Where pictures go that are copied beside the annotations."""
    return (path if label_format is LabelFormat.YOLO else path.parent) / PICTURES
