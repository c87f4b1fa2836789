# SPDX-License-Identifier: Apache-2.0
"""Keeps the annotated video: draws what was seen and writes it, away from the inference thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from helmet_agent.services.worker import BoundedWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.ports import BgrImage
    from helmet_agent.services.pipeline import ProcessedFrame


class VideoFile(Protocol):
    """Takes pictures one after the other; see ``adapters.annotated_video``."""

    def write(self, picture: BgrImage) -> None:
        """Appends a picture."""

    def close(self) -> None:
        """Finishes the file."""


class ResultsStage:
    """Observes frames and writes one annotated video a source.

    Args:
        open_video: makes the file of a source seen for the first time.
        draw: draws a processed frame into a copy of its picture.
        blocking: wait rather than drop when the writer is behind; for files.
    """

    def __init__(
        self,
        open_video: Callable[[str], VideoFile],
        draw: Callable[[ProcessedFrame], BgrImage],
        *,
        blocking: bool,
    ) -> None:
        self._open = open_video
        self._draw = draw
        self._files: dict[str, VideoFile] = {}
        self._worker: BoundedWorker[ProcessedFrame] = BoundedWorker("results", self._write, size=8, blocking=blocking)

    @property
    def dropped(self) -> int:
        """Frames that were seen but are not in the video because the writer was behind."""
        return self._worker.dropped

    def observe(self, processed: ProcessedFrame) -> None:
        """Queues a frame."""
        self._worker.submit(processed)

    def close(self, timeout: float) -> None:
        """Writes what is queued and finishes every file."""
        self._worker.close(timeout)
        for file in self._files.values():
            file.close()

    def _write(self, processed: ProcessedFrame) -> None:
        source = processed.source
        file = self._files.get(source)
        if file is None:
            file = self._files[source] = self._open(source)
        file.write(self._draw(processed))
