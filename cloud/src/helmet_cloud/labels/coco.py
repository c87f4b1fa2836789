# SPDX-License-Identifier: Apache-2.0
"""COCO's JSON: ``images``, ``categories`` and ``annotations`` with ``bbox`` [x, y, width, height] in pixels.

It is the one format that carries everything: ``iscrowd`` marks an ignore region (of category ``ignore``: for every
label), and ``not_exhaustive_category_ids`` of an image (LVIS's field) names the labels that it is not complete for.
What else a file holds (masks, key points, licences) is not read.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from helmet_agent.contract import ContractError
from helmet_agent.contract.fields import Fields
from helmet_agent.durable import write_atomic
from helmet_cloud.labels.checks import BESIDE, Reading, TooManyProblems, Unfit, checked_box, picture_below
from helmet_cloud.labels.classes import DROP, IGNORE, ClassMap, still_complete
from helmet_cloud.labels.json_file import read_json
from helmet_cloud.labels.model import LABELS, IgnoreRegion, LabelBox, LabelledPicture, LabelProblem, LabelSet
from helmet_cloud.labels.writing import PUBLIC_MODE, relative_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_cloud.labels.checks import Shelf

_IDS = 1 << 53
_PIXELS = 1 << 16
_FOLDERS = ("", "images")  # where the pictures lie as seen from the file, in this order


def read_coco(
    file: Path,
    classes: ClassMap | None = None,
    *,
    complete: frozenset[str] = frozenset(LABELS),
    root: Path | None = None,
    shelf: Shelf = BESIDE,
) -> LabelSet:
    """Reads a COCO file.

    A wrong annotation is left out, and its picture is then no longer complete for its label (for any label, where it
    does not show which). A category that means nothing here is reported once, and its annotations are left out.

    Args:
        file: the JSON file.
        classes: meaning of the category names (its ``names`` are not used: the file has its own).
        complete: labels of which every object has a box, unless the picture says otherwise.
        root: folder that the file names are relative to; default: the file's, or ``images`` in it.
        shelf: where the pictures lie.

    Raises:
        SourceMissing: the file itself is not there or cannot be read.
    """
    reading = Reading(file, complete, shelf)
    try:
        document = _document(reading, file)
        if document is not None:
            _Coco(reading, ClassMap() if classes is None else classes, root).read(document)
    except TooManyProblems:
        pass
    return reading.result()


def _document(reading: Reading, file: Path) -> dict[str, Any] | None:
    document = read_json(reading, file)
    lists = ("images", "categories", "annotations")
    if isinstance(document, dict) and all(isinstance(document.get(name), list) for name in lists):
        return document
    if not reading.problems:
        reading.report(f"no COCO document: expected an object with the lists {', '.join(lists)}")
    return None


class _Draft:
    """A picture while its annotations are gathered."""

    def __init__(self, path: Path, size: tuple[int, int], complete: frozenset[str]) -> None:
        self.path = path
        self.size = size
        self.complete = complete
        self.boxes: list[LabelBox] = []
        self.ignore: list[IgnoreRegion] = []


class _Coco:
    def __init__(self, reading: Reading, classes: ClassMap, root: Path | None) -> None:
        self._reading = reading
        self._classes = classes
        self._roots = [root] if root is not None else [reading.file.parent / name for name in _FOLDERS]
        self._meaning: dict[int, str] = {}
        self._drafts: dict[int, _Draft] = {}
        self._left_out: set[int] = set()

    def read(self, document: dict[str, Any]) -> None:
        for name, take in (("categories", self._category), ("images", self._image), ("annotations", self._annotation)):
            for index, item in enumerate(document[name]):
                try:
                    take(Fields(item))
                except (Unfit, ContractError) as unfit:
                    self._reading.report(str(unfit), item=f"{name}[{index}]")
        for number, draft in self._drafts.items():
            try:
                self._reading.add(
                    LabelledPicture(draft.path, *draft.size, tuple(draft.boxes), draft.complete, tuple(draft.ignore))
                )
            except Unfit as unfit:
                self._reading.report(unfit, item=f"image {number}")

    def _category(self, item: Fields) -> None:
        number, name = item.integer("id", 0, _IDS), item.text("name")
        if number in self._meaning:
            raise Unfit(f"category id {number} was given before")
        self._meaning[number] = DROP  # until its name is known to mean something
        self._meaning[number] = self._classes.by_name(name)

    def _image(self, item: Fields) -> None:
        number = item.integer("id", 0, _IDS)
        if number in self._drafts or number in self._left_out:
            raise Unfit(f"image id {number} was given before")
        self._left_out.add(number)  # until all of it is known to be right
        path, size = self._reading.shelf.find(self._picture(item.text("file_name")))
        for side, key in zip(size, ("width", "height"), strict=True):
            if item.has(key) and item.integer(key, 1, _PIXELS) != side:
                raise Unfit(f"{key} {item.integer(key, 1, _PIXELS)} is not that of the picture, {side}: {path}")
        partial = {self._meaning.get(int(one)) for one in item.numbers("not_exhaustive_category_ids", 0, _IDS)}
        self._drafts[number] = _Draft(path, size, self._reading.complete - partial)
        self._left_out.discard(number)

    def _picture(self, name: str) -> Path:
        places = [picture_below(root, name) for root in self._roots]
        return next((path for path in places if os.path.exists(path)), places[0])  # noqa: PTH110 - Path.exists raises on odd names

    def _annotation(self, item: Fields) -> None:
        picture = item.integer("image_id", 0, _IDS)
        if picture in self._left_out:
            return  # reported with the image
        draft = self._drafts.get(picture)
        if draft is None:
            raise Unfit(f"unknown image {picture}")
        label = None
        try:
            category = item.integer("category_id", 0, _IDS)
            label = self._meaning.get(category)
            if label is None:
                raise Unfit(f"unknown category {category}")  # noqa: TRY301 - one way out
            edges = item.numbers("bbox", -_PIXELS, 2 * _PIXELS)
            if len(edges) != 4:  # noqa: PLR2004 - x, y, width, height
                raise Unfit(f"bbox: expected x, y, width and height, found {len(edges)} values")  # noqa: TRY301 - as above
            x, y, width, height = edges
            box = checked_box(x, y, x + width, y + height, draft.size)
            crowd = item.has("iscrowd") and item.integer("iscrowd", 0, 1) == 1
        except (Unfit, ContractError):
            draft.complete = still_complete(draft.complete, label)
            raise
        if label == IGNORE:
            draft.ignore.append(IgnoreRegion(box))
        elif crowd and label != DROP:
            draft.ignore.append(IgnoreRegion(box, label))
        elif label != DROP:
            draft.boxes.append(LabelBox(label, box))


def write_coco(
    file: Path, pictures: Sequence[LabelledPicture], labels: tuple[str, ...] = LABELS
) -> tuple[LabelProblem, ...]:
    """Writes a COCO file, whole or not at all.

    Args:
        file: the JSON file; its folder must exist, the pictures must lie below it.
        pictures: in the order of their ids, from 1.
        labels: in the order of their category ids, from 0 as in Sedna's and YOLO's files.

    Returns:
        Pictures that were left out since they lie elsewhere.

    Raises:
        StorageError: the file cannot be written.
    """
    problems: list[LabelProblem] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    ids = {label: index for index, label in enumerate((*labels, IGNORE))}
    for picture in pictures:
        marks = [(mark.box, mark.label, 0) for mark in picture.boxes]
        marks += [(region.box, region.label or IGNORE, 1) for region in picture.ignore]
        if unknown := next((label for _, label, _ in marks if label not in ids), None):
            problems.append(LabelProblem(picture.path, f"unknown class {unknown!r}; known are {', '.join(labels)}"))
            continue
        try:
            name = relative_name(picture.path, file.parent)
        except Unfit as unfit:
            problems.append(LabelProblem(picture.path, str(unfit)))
            continue
        image: dict[str, Any] = {"id": len(images) + 1, "file_name": name}
        image |= {"width": picture.width, "height": picture.height}
        if partial := [ids[label] for label in labels if label not in picture.complete]:
            image["not_exhaustive_category_ids"] = partial
        images.append(image)
        for (x1, y1, x2, y2), label, crowd in marks:
            annotation = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": ids[label]}
            annotations.append(
                {**annotation, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": crowd}
            )
    categories = [{"id": index, "name": label, "supercategory": ""} for label, index in ids.items()]
    if not any(annotation["category_id"] == ids[IGNORE] for annotation in annotations):
        categories.pop()
    document = {"images": images, "categories": categories, "annotations": annotations}
    write_atomic(file, json.dumps(document, indent=1).encode() + b"\n", mode=PUBLIC_MODE)
    return tuple(problems)
