# SPDX-License-Identifier: Apache-2.0
"""A Dataset's file as labels are brought into it: present lines stay byte by byte, new ones come whole."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from helmet_agent.durable import make_folder, reported, write_atomic
from helmet_agent.errors import ConfigError
from helmet_cloud.errors import BadRequest
from helmet_cloud.labels import LABELS
from helmet_cloud.labels.writing import PUBLIC_MODE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from helmet_cloud.settings import HubHome


class Datasets(Protocol):
    """Where Datasets are known; ``store.resources.ResourceStore`` is one."""

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """The resource.

        Raises:
            NotFound: there is none.
        """


class DatasetFile:
    """One reading of a Dataset's file, and how it changes. Lines that are none of ours are not looked into.

    Args:
        namespace: of the Dataset.
        name: of the Dataset.
        path: its file; need not be there yet.

    Raises:
        StorageError: it is there and cannot be read.
    """

    def __init__(self, namespace: str, name: str, path: Path) -> None:
        self.namespace = namespace
        self.name = name
        self.path = path
        with reported("read", path):
            content = path.read_bytes() if path.exists() else b""
        self._lines = content.splitlines(keepends=True)
        self._at: dict[str, int] = {}
        for index, line in enumerate(self._lines):
            head = line.split(maxsplit=1)[:1]
            if head:
                self._at.setdefault(head[0].decode(errors="replace"), index)
        self._sizes: dict[int, list[str]] | None = None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def name_of(self, picture: Path, sha256: str) -> str | None:
        """The name under which the data set has a picture of that content already."""
        for name in (f"examples/{sha256}.jpg", f"pictures/{sha256}{picture.suffix.lower()}"):
            if name in self._at:
                return name
        if self._sizes is None:
            self._sizes = {}
            for name in self._at:
                size = _size(self.path.parent, name)
                if size is not None:
                    self._sizes.setdefault(size, []).append(name)
        for name in self._sizes.get(picture.stat().st_size, ()):
            if hashlib.sha256((self.path.parent / name).read_bytes()).hexdigest() == sha256:
                return name
        return None

    def compare(self, line: str) -> str:
        """What a line without its end means to the file: ``new``, ``same`` (in whatever order) or ``other``."""
        index = self._at.get(line.split(" ", 1)[0])
        if index is None:
            return "new"
        return "same" if _boxes(line) == _boxes(self._lines[index].decode(errors="replace")) else "other"

    def write(self, lines: Mapping[str, str]) -> None:
        """Replaces the lines of pictures that it has and adds the others, all or nothing.

        Args:
            lines: by name of the picture, without their ends.

        Raises:
            StorageError: the file is as it was.
        """
        content = list(self._lines)
        if content and not content[-1].endswith(b"\n"):
            content[-1] += b"\n"
        for name, line in lines.items():
            index = self._at.get(name)
            if index is None:
                content.append(line.encode() + b"\n")
            else:
                content[index] = line.encode() + b"\n"
        make_folder(self.path.parent, mode=0o755)
        write_atomic(self.path, b"".join(content), mode=PUBLIC_MODE)


def open_dataset(home: HubHome, datasets: Datasets, namespace: str, name: str) -> DatasetFile:
    """The file of a Dataset.

    Raises:
        NotFound: there is no such Dataset.
        BadRequest: its format or url cannot be written to.
        StorageError: its file cannot be read.
    """
    spec = datasets.get("Dataset", namespace, name)["spec"]
    if spec.get("format") != "txt":
        raise BadRequest(f"the Dataset {namespace}/{name} has the format {spec.get('format')!r}: expected txt")
    try:
        path = home.mapped(str(spec.get("url")))
    except ConfigError as error:
        raise BadRequest(f"the Dataset {namespace}/{name}: url: {error}") from None
    return DatasetFile(namespace, name, path)


def _boxes(line: str) -> list[str]:
    found = []
    for token in line.split()[1:]:
        corners, comma, label = token.rpartition(",")
        found.append(f"{corners},{LABELS.index(label)}" if comma and label in LABELS else token)
    return sorted(found)


def _size(folder: Path, name: str) -> int | None:
    try:
        return (folder / name).stat().st_size
    except (OSError, ValueError):
        return None
