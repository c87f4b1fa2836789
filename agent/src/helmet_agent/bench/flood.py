# SPDX-License-Identifier: Apache-2.0
"""A camera that delivers faster than anybody can look: for the age of the frame in work under overload."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from helmet_agent.ports import Frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.ports import BgrImage, Clock


class FloodSource:
    """Implements ``ports.FrameSource``: shows pictures over and over at a fixed rate, as a live source.

    Args:
        pictures: what is shown; decoded beforehand, so that the camera costs this machine next to nothing.
        rate: frames a second.
        frames: how many there are in all.
        clock: time.
    """

    def __init__(self, pictures: Sequence[BgrImage], rate: float, frames: int, clock: Clock) -> None:
        self._pictures = pictures
        self._period = 1.0 / rate
        self._frames = frames
        self._clock = clock
        self._closed = threading.Event()
        self._seq = 0
        self._started = 0.0

    @property
    def name(self) -> str:
        """Always the same."""
        return "flood"

    @property
    def live(self) -> bool:
        """It is."""
        return True

    def open(self) -> None:
        """Starts its clock."""
        self._started = self._clock.monotonic()

    def read(self) -> Frame | None:
        """The next frame at its moment; a moment that was missed is not made up for."""
        if self._seq >= self._frames or self._closed.is_set():
            return None
        rest = self._started + self._seq * self._period - self._clock.monotonic()
        if rest > 0:
            self._clock.sleep(rest)
        picture = self._pictures[self._seq % len(self._pictures)]
        frame = Frame(self.name, self._seq, self._clock.now(), self._clock.monotonic(), picture)
        self._seq += 1
        return frame

    def close(self) -> None:
        """Ends it."""
        self._closed.set()
