# SPDX-License-Identifier: Apache-2.0
"""Hands examples out to be labelled, with what the model saw as a suggestion, or with the labels that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helmet_agent.errors import UsageError
from helmet_cloud.examples.placing import place
from helmet_cloud.labels import (
    LABELS,
    IgnoreRegion,
    LabelBox,
    LabelFormat,
    LabelledPicture,
    Unfit,
    picture_folder,
    write_labels,
    write_labelstudio,
)
from helmet_cloud.labels.checks import checked_box
from helmet_cloud.store.examples import PENDING, list_examples, uses_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helmet_cloud.examples.pictures import PictureFolder
    from helmet_cloud.labels import LabelProblem
    from helmet_cloud.store.database import Database
    from helmet_cloud.store.examples import ExampleRow

_PAGE = 500


def export_examples(
    database: Database,
    pictures: PictureFolder,
    label_format: LabelFormat,
    target: Path,
    state: str,
) -> tuple[list[LabelledPicture], tuple[LabelProblem, ...]]:
    """Writes examples of one state in a label format, with copies of their pictures in ``images/`` beside.

    Pending examples come with suggestions, labelled ones with the labels they were given last.

    Args:
        database: of the hub.
        pictures: of the hub.
        label_format: to write.
        target: file (sedna, coco, labelstudio) or folder (yolo).
        state: ``pending`` or ``labelled``.

    Returns:
        What was written, and what the format cannot carry.

    Raises:
        UsageError: there is none.
        StorageError: something cannot be written.
    """
    folder = picture_folder(label_format, target)
    placing: dict[Path, Path] = {}
    found: list[LabelledPicture] = []
    for row, labels in _examples(database, state):
        source = pictures.path(row.sha256)
        if not source.exists():
            continue  # deleted since
        path = folder / source.name
        placing[path] = source
        found.append(_suggested(path, row) if labels is None else labels_from_json(path, row.width, row.height, labels))
    if not found:
        raise UsageError(f"no example is {state}; `helmet-cloud examples list` shows what there is")
    place(placing, copy=True)
    if label_format is LabelFormat.LABELSTUDIO:
        return found, write_labelstudio(target, found, suggested=state == PENDING)
    return found, write_labels(label_format, target, found)


def labels_from_json(path: Path, width: int, height: int, labels: dict[str, Any]) -> LabelledPicture:
    """Labels as ``labels_to_json`` wrote them, of a picture at some place."""
    boxes = tuple(LabelBox(label, _box(box)) for label, box in labels["boxes"])
    ignore = tuple(IgnoreRegion(_box(box), label) for label, box in labels["ignore"])
    return LabelledPicture(path, width, height, boxes, frozenset(labels["complete"]), ignore)


def _suggested(path: Path, row: ExampleRow) -> LabelledPicture:
    boxes = []
    for one in row.record().detections:
        x1, y1, x2, y2 = one.box
        edges = (max(x1, 0.0), max(y1, 0.0), min(x2, float(row.width)), min(y2, float(row.height)))
        try:
            if one.label in LABELS:
                boxes.append(LabelBox(one.label, checked_box(*edges, (row.width, row.height)), one.score))
        except Unfit:  # a model may see what lies outside of the picture
            continue
    return LabelledPicture(path, row.width, row.height, tuple(boxes))


def _examples(database: Database, state: str) -> Iterator[tuple[ExampleRow, dict[str, Any] | None]]:
    after = 0
    while True:
        with database.read() as session:
            rows = list_examples(session, state=state, after=after, limit=_PAGE)
            uses = uses_of(session, [row.sha256 for row in rows])
        for row in rows:
            used = uses.get(row.sha256)
            yield row, used[0].labels if used else None
        if len(rows) < _PAGE:
            return
        after = rows[-1].id


def _box(edges: list[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = edges
    return (x1, y1, x2, y2)
