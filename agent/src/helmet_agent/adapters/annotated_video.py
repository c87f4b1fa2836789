# SPDX-License-Identifier: Apache-2.0
"""Writes what was seen as a video, one file a source, with whatever the caller drew into the pictures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import cv2

from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.ports import BgrImage

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class AnnotatedVideo:
    """One growing MP4 file, visible under its name only when it is complete.

    OpenCV's wheels carry no H.264 encoder, so the codec is MPEG-4 part 2 (``mp4v``), which every desktop player shows.

    Args:
        directory: where the file goes; made when it is missing.
        source: the source's name, made safe for a file name.
        frames_per_second: of playback.

    Raises:
        StorageError: the folder cannot be written.
    """

    def __init__(self, directory: Path, source: str, frames_per_second: float) -> None:
        self._path = directory / f"annotated-{_UNSAFE.sub('_', source).strip('.') or 'source'}.mp4"
        self._part = self._path.with_name(f".{self._path.stem}.part.mp4")
        self._rate = frames_per_second
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._frames = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{directory}: cannot be made: {error.strerror}") from error

    @property
    def path(self) -> Path:
        """Where the finished video lies."""
        return self._path

    @property
    def frames(self) -> int:
        """How many frames were written."""
        return self._frames

    def write(self, picture: BgrImage) -> None:
        """Appends a picture ``(height, width, 3)``; one of another size than the first is scaled to it.

        Raises:
            StorageError: the file cannot be opened for writing.
        """
        if self._writer is None:
            self._size = (picture.shape[1], picture.shape[0])
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._part), cv2.CAP_FFMPEG, codec, self._rate, self._size)
            if not self._writer.isOpened():
                raise StorageError(
                    f"{self._part}: the video cannot be written; check the folder's rights and free space"
                )
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size)  # type: ignore[assignment]  # cv2 types every array as its own MatLike
        self._writer.write(picture)
        self._frames += 1

    def close(self) -> None:
        """Finishes the file and shows it under its name.

        Raises:
            StorageError: the finished file could not be put in place.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            self._part.replace(self._path)
        except OSError as error:
            raise StorageError(f"{self._path}: the finished video cannot be put there: {error.strerror}") from error
