# SPDX-License-Identifier: Apache-2.0
"""A journal of JSON lines that survives a power cut in the middle of a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from helmet_agent.durable import append_durable, reported, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class JournalFile:
    """Lines are only ever added; what cannot be read is left out when reading and stays in the file.

    Args:
        path: the file; it need not be there.
        writable: cut a last half line off, so that the next one begins at its own start.

    Raises:
        StorageError: it cannot be read or mended.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self._path = path
        content = self._content()
        whole = content[: content.rfind(b"\n") + 1]
        if writable and whole != content:
            write_atomic(path, whole)

    def lines(self) -> list[dict[str, Any]]:
        """All lines that are JSON objects, oldest first.

        Raises:
            StorageError: the file cannot be read.
        """
        content = self._content()
        found = []
        for line in content[: content.rfind(b"\n") + 1].splitlines():
            try:
                document = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(document, dict):
                found.append(document)
        return found

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a line for good.

        Raises:
            StorageError: it was not added.
        """
        append_durable(self._path, _encoded(line))

    def rewrite(self, line: Mapping[str, Any]) -> None:
        """Puts one line in the place of all.

        Raises:
            StorageError: the file is as it was.
        """
        write_atomic(self._path, _encoded(line))

    def _content(self) -> bytes:
        with reported("read", self._path):
            try:
                return self._path.read_bytes()
            except FileNotFoundError:
                return b""


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
