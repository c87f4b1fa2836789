# SPDX-License-Identifier: Apache-2.0
"""The live picture for people: drawn and encoded only while somebody watches, once for all who watch the same.

Standard library only.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class PreviewRefusedError(Exception):
    """The picture cannot be shown now; the message says why."""


class PreviewDesk:
    """Lets viewers in and hands them the latest picture.

    Args:
        latest: the newest frame of a source (None: of any), or None before the first. Called while somebody watches.
        encode: that frame with what was seen drawn into it, as JPEG; None when it cannot be done.
        most_viewers: at once.
    """

    def __init__(
        self, latest: Callable[[str | None], Any], encode: Callable[[Any], bytes | None], *, most_viewers: int = 4
    ) -> None:
        self._latest = latest
        self._encode = encode
        self._most = most_viewers
        self._lock = threading.Lock()  # viewers
        self._encoding = threading.Lock()  # apart: who comes or goes must not wait for a picture
        self._viewers = 0
        self._shed: str | None = None
        self._done: dict[str | None, tuple[Any, bytes | None]] = {}
        self.encoded = 0

    @property
    def viewers(self) -> int:
        """How many watch now."""
        return self._viewers

    def shed(self, reason: str | None) -> None:
        """Sends all viewers away and lets nobody in, for this reason; None lets them come back."""
        self._shed = reason

    def open(self, source: str | None = None) -> Viewer:
        """Lets a viewer of one source in; None is any source.

        Raises:
            PreviewRefusedError: the preview is shed, or as many as may watch do.
        """
        with self._lock:
            if self._shed is not None:
                raise PreviewRefusedError(self._shed)
            if self._viewers >= self._most:
                raise PreviewRefusedError(f"{self._viewers} watch already; that is the limit")
            self._viewers += 1
        return Viewer(self, source)

    def leave(self) -> None:
        """One viewer less; the last one takes the pictures along."""
        with self._lock:
            self._viewers -= 1
            if self._viewers == 0:
                self._done = {}

    def picture(self, source: str | None, known: object) -> tuple[object, bytes | None]:
        """The latest frame of a source and its JPEG; no JPEG when the frame is the known one, or there is none.

        Raises:
            PreviewRefusedError: the preview was shed.
        """
        if self._shed is not None:
            raise PreviewRefusedError(self._shed)
        frame = self._latest(source)
        if frame is None or frame is known:
            return known, None
        with self._encoding:
            done, jpeg = self._done.get(source, (None, None))
            if done is not frame:
                jpeg = self._encode(frame)
                self.encoded += 1
                self._done[source] = (frame, jpeg)
        return frame, jpeg


class Viewer:
    """One who watches; made by ``PreviewDesk.open``."""

    def __init__(self, desk: PreviewDesk, source: str | None) -> None:
        self._desk = desk
        self._source = source
        self._known: object = None
        self._open = True

    def picture(self) -> bytes | None:
        """The latest picture as JPEG, or None when there is none that this viewer has not seen.

        Raises:
            PreviewRefusedError: the preview was shed.
        """
        self._known, jpeg = self._desk.picture(self._source, self._known)
        return jpeg

    def close(self) -> None:
        """Watches no longer; idempotent."""
        if self._open:
            self._open = False
            self._desk.leave()
