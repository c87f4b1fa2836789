# SPDX-License-Identifier: Apache-2.0
"""Appends what was seen to a file of JSON lines, in two halves: when one is full the older one goes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from helmet_agent.durable import make_folder, reported

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.contract import FrameReport

HALF_BYTES = 32 << 20
"""About a day of one camera at ten frames a second with one person in the picture, in each half."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class DetectionLines:
    """``<source>.jsonl`` and, of before, ``<source>.1.jsonl``: the lines that ``helmet-agent detect --json`` prints.

    A line is handed to the operating system whole; a power cut may cost the last ones.

    Args:
        directory: where they go; made when it is missing.
        source: the source's name, made safe for a file name.
        half_bytes: size at which a new half begins.

    Raises:
        StorageError: the folder or the file cannot be made.
    """

    def __init__(self, directory: Path, source: str, half_bytes: int = HALF_BYTES) -> None:
        make_folder(directory)
        name = _UNSAFE.sub("_", source).strip(".") or "source"
        self._path = directory / f"{name}.jsonl"
        self._before = directory / f"{name}.1.jsonl"
        self._half_bytes = half_bytes
        with reported("open", self._path):
            self._file = self._path.open("ab", buffering=0)

    def write(self, report: FrameReport) -> None:
        """Appends a line.

        Raises:
            StorageError: it cannot be written.
        """
        line = json.dumps(report.to_json(), separators=(",", ":")).encode() + b"\n"
        with reported("write", self._path):
            if self._file.tell() + len(line) > self._half_bytes:
                self._file.close()
                self._path.replace(self._before)
                self._file = self._path.open("ab", buffering=0)
            self._file.write(line)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
