# SPDX-License-Identifier: Apache-2.0
"""What all writers share: names relative to the data set, and an account of what a format cannot carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_cloud.labels.checks import Unfit
from helmet_cloud.labels.model import LabelProblem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_cloud.labels.model import LabelledPicture

PUBLIC_MODE = 0o644
"""Annotations are read by other users' programs: workers in containers, labelling tools."""


def relative_name(picture: Path, folder: Path) -> str:
    """The picture's name as seen from the data set's folder, with forward slashes.

    Raises:
        Unfit: it lies elsewhere, or its name is no UTF-8.
    """
    place, root = picture.absolute(), folder.absolute()
    if not place.is_relative_to(root):
        place, root = place.resolve(), root.resolve()
    if not place.is_relative_to(root) or ".." in place.relative_to(root).parts:
        raise Unfit(f"lies outside of {folder}, where the annotations go: copy or link the pictures there")
    name = place.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Unfit("its name is no UTF-8 text: rename the picture") from None
    return name


def losses(
    file: Path, pictures: Sequence[LabelledPicture], labels: tuple[str, ...], format_name: str
) -> tuple[LabelProblem, ...]:
    """One line for each kind of knowledge that a format without room for it drops."""
    regions = sum(len(picture.ignore) for picture in pictures)
    partial = sum(not picture.complete.issuperset(labels) for picture in pictures)
    reasons = []
    if regions:
        reasons.append(f"{regions} ignore regions are lost: {format_name} cannot carry them")
    if partial:
        reasons.append(
            f"{partial} pictures are not completely labelled, which {format_name} cannot say: "
            "name the complete labels again when you read it"
        )
    return tuple(LabelProblem(file, reason) for reason in reasons)
