# SPDX-License-Identifier: Apache-2.0
"""How long to wait before the next try. Standard library only; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """Capped exponential backoff with full jitter.

    The n-th delay, n from 0, is drawn evenly from ``[0, min(cap, initial * factor ** n)]``. Full jitter keeps many
    clients that lost the same server from coming back in step (M. Brooker, "Exponential Backoff And Jitter", 2015).

    Args:
        initial_seconds: upper end of the first delay, above 0.
        cap_seconds: upper end of every later delay, at least ``initial_seconds``.
        factor: growth from one upper end to the next, at least 1.
        random: returns numbers in [0, 1), such as ``random.Random(seed).random``.

    Raises:
        ValueError: the figures make no sense.
    """

    def __init__(self, initial_seconds: float, cap_seconds: float, factor: float, random: Callable[[], float]) -> None:
        if not 0 < initial_seconds <= cap_seconds or factor < 1:
            raise ValueError("a backoff needs 0 < initial <= cap and factor >= 1")
        self._initial = initial_seconds
        self._cap = cap_seconds
        self._factor = factor
        self._random = random
        self._ceiling = initial_seconds

    def next_delay(self) -> float:
        """Seconds to wait before the next try; the upper end grows with every call."""
        delay = self._ceiling * self._random()
        self._ceiling = min(self._cap, self._ceiling * self._factor)
        return delay

    def reset(self) -> None:
        """Starts again from the first delay, because something worked."""
        self._ceiling = self._initial
