# SPDX-License-Identifier: Apache-2.0
"""What was seen, one line of JSON a frame and source, written away from the inference thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from helmet_agent.services.worker import BoundedWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.contract import FrameReport
    from helmet_agent.services.pipeline import ProcessedFrame

QUEUE_SIZE = 64
"""Lines are short: a disk may be slow for some seconds before one is dropped."""


class LineFile(Protocol):
    """Takes reports one after the other; see ``adapters.detection_lines``."""

    def write(self, report: FrameReport) -> None:
        """Appends a line."""

    def close(self) -> None:
        """Closes the file."""


class DetectionLog:
    """Observes frames and writes their reports, one file a source.

    Args:
        open_file: makes the file of a source seen for the first time.
        blocking: wait rather than drop when the writer is behind; for files.
    """

    def __init__(self, open_file: Callable[[str], LineFile], *, blocking: bool) -> None:
        self._open = open_file
        self._files: dict[str, LineFile] = {}
        self._worker: BoundedWorker[tuple[str, FrameReport]] = BoundedWorker(
            "detections", self._write, size=QUEUE_SIZE, blocking=blocking
        )

    @property
    def dropped(self) -> int:
        """Frames that were looked at but have no line because the writer was behind."""
        return self._worker.dropped

    def observe(self, processed: ProcessedFrame) -> None:
        """Queues a frame's report."""
        self._worker.submit((processed.source, processed.report))

    def close(self, timeout: float) -> None:
        """Writes what is queued and closes every file."""
        self._worker.close(timeout)
        for file in self._files.values():
            file.close()

    def _write(self, item: tuple[str, FrameReport]) -> None:
        source, report = item
        file = self._files.get(source)
        if file is None:
            file = self._files[source] = self._open(source)
        file.write(report)
