# SPDX-License-Identifier: Apache-2.0
"""The pictures of a round: Dataset files as the hub writes them, and a part kept aside for score thresholds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from helmet_agent.errors import UsageError
from helmet_cloud.core.split import side_of
from helmet_cloud.labels import ClassMap, read_coco, read_sedna
from helmet_cloud.workers.groups import groups_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.workers.parameters import Parameters

TRAINED_SHARE = 0.85
"""Of the groups of a round's pictures; the rest chooses thresholds and is not trained on."""

LEAST_VALIDATED = 4
"""Pictures: with fewer than so many to choose by, thresholds stay those of the model before."""


def read_samples(
    path: Path, parameters: Parameters, say: Callable[[str], None], original: Path | None = None
) -> list[LabelledPicture]:
    """Reads Sedna's txt, or COCO where the name ends in ``.json`` (which says by picture what it is complete for).

    What cannot be right is told and left out.

    Args:
        path: the file.
        parameters: of the worker.
        say: a line for the log.
        original: the Dataset's own file. Sedna copies lines of it elsewhere without their folder, so relative pictures
            lie beside this one. (The hub writes absolute paths.)

    Raises:
        UsageError: not one picture is left.
        SourceMissing: the file cannot be read.
    """
    classes = ClassMap(parameters.class_names)
    if path.suffix == ".json":
        found = read_coco(path, ClassMap(), complete=parameters.complete)
    else:
        root = path.parent if original is None else original.parent
        found = read_sedna(path, classes, complete=parameters.complete, root=root, anywhere=True)
    for problem in found.problems:
        say(f"left out: {problem}")
    if not found.pictures:
        raise UsageError(f"no labelled picture in {path}")
    return list(found.pictures)


def set_aside(pictures: Sequence[LabelledPicture]) -> tuple[list[LabelledPicture], list[LabelledPicture]]:
    """What trains and what chooses thresholds, by groups of neighbours, stable from round to round."""
    trained: list[LabelledPicture] = []
    kept: list[LabelledPicture] = []
    for picture, group in zip(pictures, groups_of(picture.path for picture in pictures), strict=True):
        # The word in front makes this another hash than the one that split training from evaluation: else every group
        # would lie on one side here
        (trained if side_of(f"thresholds\n{group}", TRAINED_SHARE) == "train" else kept).append(picture)
    if not trained or len(kept) < LEAST_VALIDATED:
        return list(pictures), []
    return trained, kept


def without_unmarked(pictures: Sequence[LabelledPicture]) -> list[LabelledPicture]:
    """The pictures, complete only for labels that somebody marked at least once.

    A class without a single object in a whole round was not looked for (no source labels helmets that nobody wears);
    to learn its absence would be to unlearn it.
    """
    marked = {mark.label for picture in pictures for mark in picture.boxes}
    return [replace(picture, complete=picture.complete & marked) for picture in pictures]
