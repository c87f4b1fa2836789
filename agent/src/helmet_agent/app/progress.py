# SPDX-License-Identifier: Apache-2.0
"""Shows that a run is alive: one line that renews itself on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.ports import Clock
    from helmet_agent.services.pipeline import ProcessedFrame

TERMINAL_PERIOD_SECONDS = 0.2
PLAIN_PERIOD_SECONDS = 5.0


class Progress:
    """Prints frames, rate and what was seen last; a ``FrameObserver``.

    Args:
        stream: where to print, usually standard error.
        clock: time.
        expected: how many frames all sources have together, asked once a line; None when nobody knows.
    """

    def __init__(self, stream: TextIO, clock: Clock, expected: Callable[[], int | None] = lambda: None) -> None:
        self._stream = stream
        self._clock = clock
        self._expected = expected
        self._terminal = stream.isatty()
        self._period = TERMINAL_PERIOD_SECONDS if self._terminal else PLAIN_PERIOD_SECONDS
        self._started = clock.monotonic()
        self._shown = self._started
        self._frames = 0

    def observe(self, processed: ProcessedFrame) -> None:
        """Counts a frame and prints when it is time."""
        self._frames += 1
        now = self._clock.monotonic()
        if now - self._shown >= self._period:
            self._shown = now
            self._print(processed, now)

    def close(self) -> None:
        """Ends the line on a terminal."""
        if self._terminal and self._frames:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _print(self, processed: ProcessedFrame, now: float) -> None:
        rate = self._frames / max(now - self._started, 1e-6)
        expected = self._expected()
        share = f" of {expected} ({100 * self._frames // expected}%)" if expected else ""
        seen = ", ".join(f"{found.label} {found.score:.2f}" for found in processed.report.detections[:4]) or "nobody"
        text = f"{self._frames} frames{share}, {rate:.0f} a second; {processed.report.source}: {seen}"
        self._stream.write(f"\r\x1b[K{text[:110]}" if self._terminal else f"{text}\n")
        self._stream.flush()
