# SPDX-License-Identifier: Apache-2.0
"""Sedna's text format: one line is one picture, ``relative/path.jpg x1,y1,x2,y2,class ...``.

Corners are whole pixels; the class is an id (or a configured name). Paths are relative to the Dataset file's folder.
Sedna splits the line at white space, so a path cannot hold any. A line that is only a path is a picture with nothing
in it. One wrong box spoils its line: a picture that lost a box would teach that there is nothing.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from helmet_agent.durable import reported, write_atomic
from helmet_cloud.labels.checks import (
    Reading,
    TooManyProblems,
    Unfit,
    checked_box,
    numbered_lines,
    picture_below,
    shown,
    size_of,
)
from helmet_cloud.labels.classes import DROP, IGNORE, ClassMap
from helmet_cloud.labels.model import LABELS, IgnoreRegion, LabelBox, LabelledPicture, LabelProblem, LabelSet
from helmet_cloud.labels.writing import PUBLIC_MODE, losses, relative_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from helmet_agent.contract import Box
    from helmet_cloud.labels.checks import Shelf

_BOX = re.compile(r"(-?\d{1,9}),(-?\d{1,9}),(-?\d{1,9}),(-?\d{1,9}),([^,\s]+)", re.ASCII)


def read_sedna(
    file: Path,
    classes: ClassMap | None = None,
    *,
    complete: frozenset[str] = frozenset(LABELS),
    root: Path | None = None,
    anywhere: bool = False,
    lines: Callable[[Path], Iterator[tuple[int, str | Unfit]]] = numbered_lines,
    look: Callable[[Path], tuple[int, int]] = size_of,
    shelf: Shelf | None = None,
) -> LabelSet:
    """Reads a Dataset file.

    Args:
        file: the text file.
        classes: meaning of ids and names; default: the ids of LABELS.
        complete: labels of which every object has a box in these pictures.
        root: folder that the paths are relative to; default: the file's.
        anywhere: paths may be absolute and lead out of the folder; only for files that this program wrote itself.
        lines: gives the file's numbered lines; for files that hold the same in another wrapping.
        look: gives a picture's width and height, or raises Unfit; for callers that looked at the picture before.
        shelf: where the pictures lie; takes the place of ``look``.

    Raises:
        SourceMissing: the file itself is not there or cannot be read.
    """
    meaning = ClassMap() if classes is None else classes
    folder = file.parent if root is None else root
    reading = Reading(file, complete)
    find = (lambda path: (path, look(path))) if shelf is None else shelf.find
    try:
        for line, text in lines(file):
            try:
                reading.add(_picture(text, meaning, complete, folder, find, anywhere=anywhere))
            except Unfit as unfit:
                reading.report(unfit, line)
    except TooManyProblems:
        pass
    return reading.result()


def _picture(
    text: str | Unfit,
    classes: ClassMap,
    complete: frozenset[str],
    folder: Path,
    find: Callable[[Path], tuple[Path, tuple[int, int]]],
    *,
    anywhere: bool,
) -> LabelledPicture:
    if isinstance(text, Unfit):
        raise text
    tokens = text.split()
    path = folder / tokens[0] if anywhere else picture_below(folder, tokens[0])
    parsed = [_parse(token, classes) for token in tokens[1:]]  # first: a wrong box is cheaper to find than a picture
    path, size = find(path)
    boxes: list[LabelBox] = []
    ignore: list[IgnoreRegion] = []
    for corners, label in parsed:
        box = checked_box(*corners, size)
        if label == IGNORE:
            ignore.append(IgnoreRegion(box))
        elif label != DROP:
            boxes.append(LabelBox(label, box))
    return LabelledPicture(path, *size, tuple(boxes), complete, tuple(ignore))


def _parse(token: str, classes: ClassMap) -> tuple[Box, str]:
    found = _BOX.fullmatch(token)
    if found is None:
        raise Unfit(f"{shown(token)} is no box x1,y1,x2,y2,class in whole pixels (a path cannot hold white space here)")
    x1, y1, x2, y2 = (float(edge) for edge in found.group(1, 2, 3, 4))
    return (x1, y1, x2, y2), classes.by_token(found.group(5))


def write_sedna(
    file: Path, pictures: Sequence[LabelledPicture], labels: tuple[str, ...] = LABELS
) -> tuple[LabelProblem, ...]:
    """Writes a Dataset file, whole or not at all.

    Corners are rounded to the nearest pixel; a box that would lose its size grows to the pixels it touches.

    Args:
        file: the text file; its folder must exist, the pictures must lie below it.
        pictures: one line each.
        labels: by class id.

    Returns:
        What the format cannot carry: pictures outside the folder or with white space in their path are left out;
        ignore regions and incompleteness are lost.

    Raises:
        StorageError: the file cannot be written.
    """
    return _write(file, b"", pictures, labels)


def append_sedna(
    file: Path, pictures: Sequence[LabelledPicture], labels: tuple[str, ...] = LABELS
) -> tuple[LabelProblem, ...]:
    """Adds lines to a Dataset file, whole or not at all; its present lines stay as they are, byte by byte.

    Returns:
        As ``write_sedna``; pictures that the file names already are left out too.

    Raises:
        StorageError: the file cannot be read or written.
    """
    with reported("read", file):
        present = file.read_bytes() if file.exists() else b""
    if present and not present.endswith(b"\n"):
        present += b"\n"
    return _write(file, present, pictures, labels)


def _write(
    file: Path, present: bytes, pictures: Sequence[LabelledPicture], labels: tuple[str, ...]
) -> tuple[LabelProblem, ...]:
    named = {line.split()[0] for line in present.decode(errors="replace").splitlines() if line.strip()}
    lines: list[str] = []
    problems: list[LabelProblem] = []
    for picture in pictures:
        try:
            line = _line(picture, file.parent, labels)
        except Unfit as unfit:
            problems.append(LabelProblem(picture.path, str(unfit)))
            continue
        if line.split(" ", 1)[0] in named:
            problems.append(LabelProblem(picture.path, f"is in {file} already"))
        else:
            lines.append(f"{line}\n")
    write_atomic(file, present + "".join(lines).encode(), mode=PUBLIC_MODE)
    return (*problems, *losses(file, pictures, labels, "Sedna's text format"))


def _line(picture: LabelledPicture, folder: Path, labels: tuple[str, ...]) -> str:
    return sedna_line(relative_name(picture.path, folder), picture.boxes, labels)


def sedna_line(name: str, boxes: Sequence[LabelBox], labels: tuple[str, ...] = LABELS) -> str:
    """One line without its end.

    Args:
        name: of the picture, relative to the file's folder.
        boxes: corners are rounded as in ``write_sedna``.
        labels: by class id.

    Raises:
        Unfit: the name holds white space, or a label has no id.
    """
    if name.split() != [name]:
        raise Unfit("white space in a path cannot be said in this format: rename the picture")
    return " ".join([name, *(_token(mark, labels) for mark in boxes)])


def _token(mark: LabelBox, labels: tuple[str, ...]) -> str:
    if mark.label not in labels:
        raise Unfit(f"unknown class {shown(mark.label)}; known are {', '.join(labels)}")
    edges = [math.floor(edge + 0.5) for edge in mark.box]
    for low, high in ((0, 2), (1, 3)):
        if edges[high] <= edges[low]:
            edges[low], edges[high] = math.floor(mark.box[low]), math.ceil(mark.box[high])
    return ",".join(str(edge) for edge in (*edges, labels.index(mark.label)))
