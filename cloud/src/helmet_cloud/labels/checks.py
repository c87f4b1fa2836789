# SPDX-License-Identifier: Apache-2.0
"""What cannot be right, and how a reader keeps account of it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Protocol

from helmet_agent.errors import SourceMissing
from helmet_cloud.labels.model import LabelProblem, LabelSet
from helmet_cloud.labels.picture import picture_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helmet_agent.contract import Box
    from helmet_cloud.labels.model import LabelledPicture

MAX_LINE_BYTES = 1 << 20
MAX_PROBLEMS = 10_000
OVERSHOOT = 1.0
"""Pixels by which a box may stick out of its picture: rounding. It is clamped; anything more is reported."""

_NOISE = 1e-6  # pixels; what floating point adds to an overshoot of exactly one pixel
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Unfit(ValueError):  # noqa: N818 - says what the label is
    """A label that cannot be right; the message is the reason for people. Readers catch it and go on."""


class TooManyProblems(Exception):  # noqa: N818 - the state that ends a reading
    """The file is no annotation file; reading on would only fill the memory."""


def shown(text: str) -> str:
    """A piece of the input for a message: quoted, short, control characters made visible."""
    return repr(text if len(text) <= 40 else text[:37] + "...")  # noqa: PLR2004 - fits a line


def number(token: str) -> float:
    """A finite number.

    Raises:
        Unfit: it is none; NaN and infinity included.
    """
    value = float(token) if _NUMBER.fullmatch(token) else math.nan
    if not math.isfinite(value):
        raise Unfit(f"{shown(token)} is no finite number")
    return value


def checked_box(x1: float, y1: float, x2: float, y2: float, size: tuple[int, int]) -> Box:
    """Corners inside the picture, an overshoot of up to OVERSHOOT clamped.

    Args:
        x1: left edge in pixels.
        y1: upper edge.
        x2: right edge.
        y2: lower edge.
        size: width and height of the picture.

    Raises:
        Unfit: not finite, no size, or outside the picture.
    """
    width, height = size
    given = f"box {x1:g},{y1:g},{x2:g},{y2:g}"
    if not all(math.isfinite(edge) for edge in (x1, y1, x2, y2)):
        raise Unfit(f"{given} is not finite")
    if x2 <= x1 or y2 <= y1:
        raise Unfit(f"{given} has no size: its right and lower edges must lie beyond its left and upper ones")
    limit = OVERSHOOT + _NOISE
    if x1 < -limit or y1 < -limit or x2 > width + limit or y2 > height + limit:
        raise Unfit(f"{given} sticks out of its picture of {width}x{height} pixels")
    box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if box[2] <= box[0] or box[3] <= box[1]:
        raise Unfit(f"{given} lies outside its picture of {width}x{height} pixels")
    return box


def picture_below(root: Path, name: str) -> Path:
    """Where a named picture lies.

    Raises:
        Unfit: the name leads out of the data set. Files come from elsewhere; they may not point at other people's.
    """
    if "\0" in name:
        raise Unfit(f"picture {shown(name)}: a file name cannot hold a NUL")
    path = root / name
    if name.startswith("/") or ".." in path.relative_to(root).parts or path == root:
        raise Unfit(f"picture {shown(name)} must be named relative to {root} and lie below it")
    return path


class Shelf(Protocol):
    """Knows where pictures lie that annotations name."""

    def find(self, path: Path) -> tuple[Path, tuple[int, int]]:
        """Where a picture really lies, and its width and height in pixels.

        Args:
            path: where it would lie if it lay beside the annotations.

        Raises:
            Unfit: there is no such picture, or it cannot be read.
        """


class Beside:
    """Pictures lie where the annotations say; the usual case."""

    def find(self, path: Path) -> tuple[Path, tuple[int, int]]:
        """As ``Shelf.find``."""
        return path, size_of(path)


BESIDE = Beside()


class Reading:
    """One reading of an annotation file or folder: collects pictures and problems.

    Args:
        file: the annotation file, or the folder.
        complete: labels of which every object has a box, unless a picture says otherwise.
        shelf: where the pictures lie.
    """

    def __init__(self, file: Path, complete: frozenset[str], shelf: Shelf = BESIDE) -> None:
        self.file = file
        self.complete = complete
        self.shelf = shelf
        self.unlabelled = 0
        self.problems: list[LabelProblem] = []
        self._pictures: dict[Path, LabelledPicture] = {}

    def add(self, picture: LabelledPicture) -> None:
        """Takes a picture.

        Raises:
            Unfit: it is there already; its objects would count twice.
        """
        if picture.path in self._pictures:
            raise Unfit(f"picture {shown(picture.path.name)} was named before")
        self._pictures[picture.path] = picture

    def report(
        self, reason: str | Unfit, line: int | None = None, item: str | None = None, file: Path | None = None
    ) -> None:
        """Notes a problem.

        Raises:
            TooManyProblems: there were MAX_PROBLEMS already.
        """
        if len(self.problems) >= MAX_PROBLEMS:
            self.problems.append(LabelProblem(self.file, f"more than {MAX_PROBLEMS} problems: the rest was not read"))
            raise TooManyProblems
        self.problems.append(LabelProblem(file or self.file, str(reason), line, item))

    def result(self) -> LabelSet:
        """What was found."""
        return LabelSet(tuple(self._pictures.values()), tuple(self.problems), self.unlabelled)


def size_of(picture: Path) -> tuple[int, int]:
    """Width and height of a picture file.

    Raises:
        Unfit: missing or unreadable.
    """
    try:
        return picture_size(picture)
    except SourceMissing as error:
        raise Unfit(str(error)) from None


def numbered_lines(file: Path) -> Iterator[tuple[int, str | Unfit]]:
    """The lines of a text file that are not blank, from 1, each as text or as the reason why it is none.

    Reads at most MAX_LINE_BYTES at once, whatever the file holds.

    Raises:
        SourceMissing: the file cannot be opened or read.
    """
    try:
        if not file.is_file():
            raise SourceMissing(f"no such annotation file: {file}")
        with file.open("rb") as stream:
            line = 0
            while raw := stream.readline(MAX_LINE_BYTES + 1):
                line += 1
                if len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                    while raw and not raw.endswith(b"\n"):
                        raw = stream.readline(MAX_LINE_BYTES)
                    yield line, Unfit(f"line is longer than {MAX_LINE_BYTES} bytes")
                    continue
                try:
                    text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
                except UnicodeDecodeError:
                    yield line, Unfit("line is no UTF-8 text")
                    continue
                if text.strip():
                    yield line, text
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceMissing(f"annotation file cannot be read ({reason}): {file}") from error
