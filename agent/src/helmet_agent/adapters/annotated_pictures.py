# SPDX-License-Identifier: Apache-2.0
"""Writes what was seen as pictures, one a frame, in a ring: the latest ones stay, the disk never fills."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import cv2

from helmet_agent.durable import make_folder, reported
from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.ports import BgrImage

RING = 1000
"""Pictures kept of each source (Sedna keeps every one until the disk is full, its issue 27)."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class AnnotatedPictures:
    """Pictures ``<source>-000.jpg`` to ``<source>-999.jpg``, the oldest overwritten first.

    Args:
        directory: where they go; made when it is missing.
        source: the source's name, made safe for a file name.
        ring: how many are kept, at least 1.

    Raises:
        StorageError: the folder cannot be made.
    """

    def __init__(self, directory: Path, source: str, ring: int = RING) -> None:
        make_folder(directory)
        self._directory = directory
        self._name = _UNSAFE.sub("_", source).strip(".") or "source"
        self._ring = ring
        self._digits = len(str(ring - 1))
        self._frames = 0

    def write(self, picture: BgrImage) -> None:
        """Writes a picture ``(height, width, 3)``, seen whole or not at all.

        Raises:
            StorageError: it cannot be encoded or written.
        """
        encoded, jpeg = cv2.imencode(".jpg", picture)
        if not encoded:
            raise StorageError(f"{self._directory}: a picture of {self._name} cannot be encoded as JPEG")
        number = self._frames % self._ring
        path = self._directory / f"{self._name}-{number:0{self._digits}}.jpg"
        part = path.with_name(f".{path.name}.part")
        # No fsync: a power cut may cost the last pictures, which the next frames replace anyway.
        with reported("write", path):
            part.write_bytes(jpeg.tobytes())
            part.replace(path)
        self._frames += 1

    def close(self) -> None:
        """Nothing is open."""
