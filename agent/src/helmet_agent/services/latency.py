# SPDX-License-Identifier: Apache-2.0
"""Latencies of the last frames, cheap to add to and ready to be summed up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW = 512


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Latencies in seconds.

    Attributes:
        count, total_seconds: since the start.
        median_seconds, p99_seconds, max_seconds: of the last ``WINDOW`` values; 0.0 when there are none.
    """

    count: int
    total_seconds: float
    median_seconds: float
    p99_seconds: float
    max_seconds: float


class LatencyWindow:
    """Remembers the last ``WINDOW`` latencies. One thread adds, any thread may ask for the summary."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._count = 0
        self._total = 0.0

    def add(self, seconds: float) -> None:
        """Takes one latency in seconds."""
        self._recent.append(seconds)
        self._count += 1
        self._total += seconds

    def summary(self) -> LatencySummary:
        """The figures of now."""
        values = sorted(self._recent.copy())
        if not values:
            return LatencySummary(0, 0.0, 0.0, 0.0, 0.0)
        last = len(values) - 1
        return LatencySummary(
            self._count, self._total, values[last // 2], values[min(last, int(0.99 * len(values)))], values[-1]
        )
