# SPDX-License-Identifier: Apache-2.0
"""Which frames of a source are looked at: every n-th, at most so many a second, fewer when memory is short."""

from __future__ import annotations

# A frame may come this part of a period early, so that a camera's jitter does not halve the rate at the cap.
_EARLY = 0.25


class FrameGate:
    """Decides frame by frame; pure.

    Args:
        every_nth: pass frames whose number is a multiple of this, at least 1.
        max_fps: pass at most so many frames a second in the long run; 0 passes all.

    Raises:
        ValueError: a figure makes no sense.
    """

    def __init__(self, every_nth: int = 1, max_fps: float = 0.0) -> None:
        if every_nth < 1 or not max_fps >= 0:
            raise ValueError("a frame gate needs every_nth >= 1 and max_fps >= 0")
        self._every_nth = every_nth
        self._period = 1.0 / max_fps if max_fps else 0.0
        self._due: float | None = None
        self._passed = 0

    def refuse(self, number: int, seconds: float | None, divisor: int = 1) -> str | None:
        """The cause for which a frame is passed over, or None when it is wanted.

        Args:
            number: of the frame in its source, from 0.
            seconds: when it was taken, on any clock that does not go back; None has no time and knows no cap.
            divisor: of the frames that would pass, take one in so many.

        Returns:
            ``every_nth``, ``max_fps``, ``shed`` or None.
        """
        if number % self._every_nth:
            return "every_nth"
        if seconds is not None and not self._in_time(seconds):
            return "max_fps"
        self._passed += 1
        return "shed" if divisor > 1 and (self._passed - 1) % divisor else None

    def _in_time(self, seconds: float) -> bool:
        if not self._period:
            return True
        if self._due is None:
            self._due = seconds
        if seconds < self._due - _EARLY * self._period:
            return False
        # The grid moves on by whole periods, and is laid anew after a pause: no burst catches up.
        self._due += self._period
        if self._due <= seconds:
            self._due = seconds + self._period
        return True
