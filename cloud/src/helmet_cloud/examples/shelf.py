# SPDX-License-Identifier: Apache-2.0
"""Finds the pictures that somebody's labels name: among the hub's examples, in the data set, or beside the labels."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.errors import SourceMissing
from helmet_cloud.labels import Unfit, picture_size
from helmet_cloud.store.examples import find_example

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.examples.dataset_file import DatasetFile
    from helmet_cloud.examples.pictures import PictureFolder
    from helmet_cloud.store.database import Database

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Found:
    """A picture that labels belong to.

    Attributes:
        sha256: of its file.
        source: the file.
        name: under which the data set has it or will have it, relative to the data set's folder.
        example: whether it is one of the hub's examples.
    """

    sha256: str
    source: Path
    name: str
    example: bool


class HubShelf:
    """Implements ``labels.Shelf``; remembers what it found by the path that it answered.

    A picture is an example when its name holds the digest of one, or when it lies beside the labels and is one, byte
    by byte. Tools that make pictures anew keep their names.

    Args:
        database: of the hub.
        pictures: of the hub.
        dataset: pictures that it has already are known too, by content.
        add_pictures: whether a picture that lies beside the labels may be a new one.
    """

    def __init__(
        self, database: Database, pictures: PictureFolder, dataset: DatasetFile, *, add_pictures: bool
    ) -> None:
        self._database = database
        self._pictures = pictures
        self._dataset = dataset
        self._add_pictures = add_pictures
        self.found: dict[Path, Found] = {}

    def find(self, path: Path) -> tuple[Path, tuple[int, int]]:
        """As ``labels.Shelf.find``."""
        digest = _DIGEST.search(path.name)
        if digest is not None and (answer := self._example(digest[0])) is not None:
            return answer
        if not _is_file(path):
            raise Unfit(
                f"unknown picture {path.name!r}: the hub has no such example, and it does not lie beside the labels"
            )
        sha256 = _sha256(path)
        if (answer := self._example(sha256)) is not None:
            return answer
        size = _size(path)
        if (name := self._dataset.name_of(path, sha256)) is not None:
            return self._remember(Found(sha256, path, name, example=False)), size
        if not self._add_pictures:
            raise Unfit(
                f"unknown picture {path.name!r}: it is none of the hub's examples; "
                "--add-pictures takes it into the data set"
            )
        return self._remember(Found(sha256, path, f"pictures/{sha256}{path.suffix.lower()}", example=False)), size

    def _example(self, sha256: str) -> tuple[Path, tuple[int, int]] | None:
        with self._database.read() as session:
            row = find_example(session, sha256)
        if row is None:
            return None
        source = self._pictures.path(sha256)
        if not source.exists():
            raise Unfit(f"the picture of example {sha256} is missing on the hub's disk")
        name = self._dataset.name_of(source, sha256) or f"examples/{sha256}.jpg"
        return self._remember(Found(sha256, source, name, example=True)), (row.width, row.height)

    def _remember(self, found: Found) -> Path:
        self.found[found.source] = found
        return found.source


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or a NUL in the name
        return False


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise Unfit(f"picture cannot be read ({error.strerror}): {path}") from None


def _size(path: Path) -> tuple[int, int]:
    try:
        return picture_size(path)
    except SourceMissing as error:
        raise Unfit(str(error)) from None
