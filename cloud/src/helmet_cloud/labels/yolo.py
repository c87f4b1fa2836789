# SPDX-License-Identifier: Apache-2.0
"""YOLO's text format: a folder of pictures, and for each a text file of ``class cx cy w h`` lines.

Centre and size are shares (0..1) of the picture's width and height. ``images/a/b.jpg`` belongs to ``labels/a/b.txt``;
without ``images/`` the text files lie beside the pictures. An empty file says that there is nothing in the picture; a
missing one says nothing, so that picture is reported and left out. ``classes.txt`` names the ids, one name a line.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from helmet_agent.durable import make_folder, write_atomic_group
from helmet_agent.errors import SourceMissing
from helmet_cloud.labels.checks import BESIDE, Reading, TooManyProblems, Unfit, checked_box, number, numbered_lines
from helmet_cloud.labels.classes import DROP, IGNORE, ClassMap, still_complete
from helmet_cloud.labels.model import LABELS, IgnoreRegion, LabelBox, LabelledPicture, LabelProblem, LabelSet
from helmet_cloud.labels.picture import PICTURE_SUFFIXES
from helmet_cloud.labels.writing import PUBLIC_MODE, losses, relative_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from helmet_cloud.labels.checks import Shelf

PICTURES = "images"
ANNOTATIONS = "labels"
NAMES = "classes.txt"

_FIELDS = 5
_MAX_ID_DIGITS = 9


def read_yolo(
    folder: Path,
    classes: ClassMap | None = None,
    *,
    complete: frozenset[str] = frozenset(LABELS),
    annotations: str = ANNOTATIONS,
    shelf: Shelf = BESIDE,
) -> LabelSet:
    """Reads a folder of pictures and their text files, by name.

    A wrong line is left out, and its picture is then no longer complete for the label of that line (for any label,
    where the line does not show which): the object is there, only nobody knows where.

    Args:
        folder: with ``images/`` and ``labels/``, or with pictures and text files side by side.
        classes: meaning of the ids; default: ``classes.txt``, else the ids of LABELS.
        complete: labels of which every object has a box in these pictures.
        annotations: name of the folder beside ``images/`` that holds the text files.
        shelf: where the pictures lie; text files without a picture beside them are then looked up there.

    Raises:
        SourceMissing: the folder or its text files' folder is not there or cannot be read.
    """
    if not folder.is_dir():
        raise SourceMissing(f"no such folder: {folder}")
    parted = (folder / PICTURES).is_dir() or (shelf is not BESIDE and (folder / annotations).is_dir())
    pictures = folder / PICTURES if parted else folder
    texts = folder / annotations if parted else folder
    if not texts.is_dir():
        raise SourceMissing(f"no folder {annotations}/ with text files beside {PICTURES}/: {folder}")
    reading = Reading(folder, complete, shelf)
    owners: dict[Path, Path] = {}
    try:
        meaning = _named(reading, ClassMap() if classes is None else classes, (texts / NAMES, folder / NAMES))
        for path in _files(pictures) if pictures.is_dir() else ():
            if path.suffix.lower() not in PICTURE_SUFFIXES:
                continue
            text = texts / path.relative_to(pictures).with_suffix(".txt")
            if text in owners:
                reading.report(f"belongs to {owners[text].name} and {path.name} alike: rename one", file=text)
                continue
            owners[text] = path
            try:
                reading.add(_picture(reading, path, text, meaning))
            except (Unfit, SourceMissing) as unfit:
                reading.report(str(unfit), file=text)
        for text in _files(texts):
            if text.suffix == ".txt" and text not in owners and text.name != NAMES:
                _lone(reading, (pictures / text.relative_to(texts)).with_suffix(".jpg"), text, meaning)
    except TooManyProblems:
        pass
    return reading.result()


def _lone(reading: Reading, named: Path, text: Path, classes: ClassMap) -> None:
    """A text file without a picture beside it."""
    if reading.shelf is BESIDE:
        reading.report("no picture belongs to this file", file=text)
        return
    try:
        reading.add(_picture(reading, named, text, classes))
    except (Unfit, SourceMissing) as unfit:
        reading.report(str(unfit), file=text)


def _picture(reading: Reading, path: Path, text: Path, classes: ClassMap) -> LabelledPicture:
    if not text.is_file():
        raise Unfit(f"no such file, so nobody knows what is in {path.name}; an empty file would say: nothing")
    path, size = reading.shelf.find(path)
    boxes: list[LabelBox] = []
    ignore: list[IgnoreRegion] = []
    complete = reading.complete
    for line, content in numbered_lines(text):
        label = None
        try:
            tokens = _tokens(content)
            label = classes.by_id(int(tokens[0]))
            cx, cy, w, h = (number(token) for token in tokens[1:])
            width, height = size
            box = checked_box(
                (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height, size
            )
        except Unfit as unfit:
            reading.report(unfit, line, file=text)
            complete = still_complete(complete, label)
            continue
        if label == IGNORE:
            ignore.append(IgnoreRegion(box))
        elif label != DROP:
            boxes.append(LabelBox(label, box))
    return LabelledPicture(path, *size, tuple(boxes), complete, tuple(ignore))


def _tokens(content: str | Unfit) -> list[str]:
    if isinstance(content, Unfit):
        raise content
    tokens = content.split()
    if len(tokens) != _FIELDS:
        raise Unfit(f"expected class cx cy w h, found {len(tokens)} values")
    if not (tokens[0].isascii() and tokens[0].isdigit() and len(tokens[0]) <= _MAX_ID_DIGITS):
        raise Unfit("the class id, the first value, must be a whole number from 0")
    return tokens


def _named(reading: Reading, classes: ClassMap, places: Sequence[Path]) -> ClassMap:
    """The classes with the names of ``classes.txt``, if there is one that can be read."""
    for file in places:
        if file.is_file():
            names: list[str] = []
            for line, text in numbered_lines(file):
                if isinstance(text, Unfit):
                    reading.report(text, line, file=file)
                    return classes
                names.append(text.strip())
            return classes.with_names(tuple(names))
    return classes


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, in the order of their names; links to folders are not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise SourceMissing(f"folder cannot be read ({error.strerror}): {folder}") from error
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name)
        else:
            yield folder / entry.name


def write_yolo(
    folder: Path, pictures: Sequence[LabelledPicture], labels: tuple[str, ...] = LABELS
) -> tuple[LabelProblem, ...]:
    """Writes ``labels/*.txt`` and ``classes.txt``; each file is whole or not there.

    Args:
        folder: the pictures must lie below its ``images/``.
        pictures: one file each.
        labels: by class id.

    Returns:
        What the format cannot carry: pictures that lie elsewhere, or whose text file another picture has, are left
        out; ignore regions and incompleteness are lost.

    Raises:
        StorageError: something cannot be written.
    """
    problems: list[LabelProblem] = []
    names = "".join(f"{name}\n" for name in labels).encode()
    groups: dict[Path, dict[str, bytes]] = {folder: {NAMES: names}, folder / ANNOTATIONS: {}}
    for picture in pictures:
        try:
            name = relative_name(picture.path, folder / PICTURES)
            text = (folder / ANNOTATIONS / name).with_suffix(".txt")
            group = groups.setdefault(text.parent, {})
            if text.name in group:
                raise Unfit(f"another picture has the text file {text.name} too: rename one")  # noqa: TRY301 - one way out
            group[text.name] = "".join(_line(mark, picture, labels) for mark in picture.boxes).encode()
        except Unfit as unfit:
            problems.append(LabelProblem(picture.path, str(unfit)))
    for place, files in groups.items():
        make_folder(place, mode=0o755)
        write_atomic_group(place, files, mode=PUBLIC_MODE)
    return (*problems, *losses(folder, pictures, labels, "YOLO's text format"))


def _line(mark: LabelBox, picture: LabelledPicture, labels: tuple[str, ...]) -> str:
    if mark.label not in labels:
        raise Unfit(f"unknown class {mark.label!r}; known are {', '.join(labels)}")
    x1, x2 = mark.box[0] / picture.width, mark.box[2] / picture.width
    y1, y2 = mark.box[1] / picture.height, mark.box[3] / picture.height
    shares = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
    return f"{labels.index(mark.label)} {' '.join(f'{share:.9f}' for share in shares)}\n"
