# SPDX-License-Identifier: Apache-2.0
"""Interleaved pairs: what two things cost beside each other, so that a machine that is busy for a while spoils both."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took.

    Attributes:
        frames: how many frames it was.
        cpu_seconds: of all threads of the process.
        wall_seconds: by the clock on the wall.
    """

    frames: int
    cpu_seconds: float
    wall_seconds: float

    @property
    def cpu_per_frame(self) -> float:
        """Seconds of CPU a frame."""
        return self.cpu_seconds / self.frames

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.wall_seconds


def cost_of(work: Callable[[], int]) -> Cost:
    """Runs ``work``, which returns how many frames it did, and takes its cost.

    Raises:
        ValueError: it did no frame at all.
    """
    cpu, wall = time.process_time(), time.perf_counter()
    frames = work()
    cost = Cost(frames, time.process_time() - cpu, time.perf_counter() - wall)
    if frames < 1:
        raise ValueError("nothing to measure: the clip has no frames")
    return cost


def interleave(
    pairs: int, ours: Callable[[], Cost], theirs: Callable[[], Cost], progress: Callable[[str], None]
) -> list[tuple[Cost, Cost]]:
    """Measures both alternately, ``pairs`` times; who begins changes from pair to pair."""
    found: list[tuple[Cost, Cost]] = []
    for number in range(pairs):
        progress(f"pair {number + 1} of {pairs}")
        if number % 2:
            second = theirs()
            found.append((ours(), second))
        else:
            first = ours()
            found.append((first, theirs()))
    return found


def median_ratio(pairs: Sequence[tuple[Cost, Cost]], figure: Callable[[Cost], float]) -> float:
    """The median over the pairs of ours divided by theirs."""
    return statistics.median(figure(ours) / figure(theirs) for ours, theirs in pairs)
