# SPDX-License-Identifier: Apache-2.0
"""Brings pictures to where a data set's annotations can name them."""

from __future__ import annotations

import dataclasses
import filecmp
import hashlib
import shutil
from typing import TYPE_CHECKING, Literal

from helmet_agent.durable import TEMPORARY_PREFIX, make_folder, reported

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_cloud.labels.model import LabelledPicture

Placing = Literal["keep", "copy", "link"]
"""``keep``: pictures stay where they are; ``copy``; ``link``: symbolic links to the originals."""


def place_pictures(pictures: Sequence[LabelledPicture], folder: Path, how: Placing) -> tuple[LabelledPicture, ...]:
    """Puts the pictures into a folder and returns them with their new paths.

    Two pictures of one name keep apart: the second gets a piece of its path's digest into its name. White space
    becomes ``_``, since Sedna's text format cannot carry it. A picture that is there already is not touched.

    Raises:
        StorageError: a picture cannot be put there.
    """
    if how == "keep":
        return tuple(pictures)
    make_folder(folder, mode=0o755)
    taken: set[str] = set()
    placed = []
    for picture in pictures:
        name = "_".join(picture.path.name.split())
        target = folder / name
        if name in taken or (target.exists() and not _same(target, picture.path)):
            mark = hashlib.sha256(str(picture.path.absolute()).encode(errors="surrogateescape")).hexdigest()[:8]
            target = target.with_name(f"{target.stem}-{mark}{target.suffix}")
        taken.add(target.name)
        if not (target.exists() and _same(target, picture.path)):
            _put(picture.path, target, how)
        placed.append(dataclasses.replace(picture, path=target))
    return tuple(placed)


def _put(source: Path, target: Path, how: Placing) -> None:
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{hashlib.sha256(target.name.encode()).hexdigest()[:16]}")
    with reported("write", target):
        temporary.unlink(missing_ok=True)
        if how == "copy":
            shutil.copyfile(source, temporary)
        else:
            temporary.symlink_to(source.resolve())
        temporary.replace(target)


def _same(one: Path, other: Path) -> bool:
    return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
