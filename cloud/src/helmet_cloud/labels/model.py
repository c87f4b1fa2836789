# SPDX-License-Identifier: Apache-2.0
"""Labelled pictures in memory: what every reader yields and every writer takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.contract import Box

LABELS = ("person", "helmet", "helmet-on", "helmet-off")
"""The labels in the order of their ids in Sedna's helmet example."""


@dataclass(frozen=True, slots=True)
class LabelBox:
    """One object that a person marked.

    Attributes:
        label: what it is.
        box: corners in pixels, inside the picture, x1 < x2 and y1 < y2.
        score: confidence in [0, 1] where a model suggested it and nobody has looked yet; None: a person marked it.
    """

    label: str
    box: Box
    score: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class IgnoreRegion:
    """A part of the picture where nobody said what is there: neither object nor background.

    Attributes:
        box: corners in pixels, inside the picture.
        label: the label it is undecided for; None: for every label.
    """

    box: Box
    label: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture and what is in it.

    Attributes:
        path: the picture's file.
        width, height: in pixels, as OpenCV reads the file (orientation applied).
        boxes: the objects; empty for a picture with nothing in it.
        complete: labels of which every visible object has a box. A picture labelled for heads only is not complete for
            persons: it says nothing about the persons that have no box, and is no evidence against finding one.
        ignore: regions that count neither for nor against.
    """

    path: Path
    width: int
    height: int
    boxes: tuple[LabelBox, ...] = ()
    complete: frozenset[str] = frozenset(LABELS)
    ignore: tuple[IgnoreRegion, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelProblem:
    """Something in an annotation file that cannot be right and was left out.

    Attributes:
        file: the annotation file (or the picture, where there is no file to blame).
        reason: what is wrong, and with which value.
        line: number of the line, from 1; None where lines mean nothing.
        item: the place in a file without lines, such as ``annotations[3]``.
    """

    file: Path
    reason: str
    line: int | None = None
    item: str | None = None

    def __str__(self) -> str:  # one line, whatever the file holds
        where = f":{self.line}" if self.line is not None else ""
        item = f" {self.item}:" if self.item else ""
        text = f"{self.file}{where}:{item} {self.reason}"
        # names come from other people's files: neither line breaks nor terminal commands may come through
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """What a reader found: everything that can be right, and a problem for everything else.

    Attributes:
        pictures: with their labels.
        problems: what was left out.
        unlabelled: pictures that nobody has labelled yet, where the format can say so; they are in neither list.
    """

    pictures: tuple[LabelledPicture, ...]
    problems: tuple[LabelProblem, ...] = field(default=())
    unlabelled: int = 0
