# SPDX-License-Identifier: Apache-2.0
"""A cap on bytes a second: a token bucket. No threads, no waiting of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helmet_agent.ports import Clock

BURST_SECONDS = 0.25
"""So much of unused time may be caught up with: enough to keep a line busy, too little for a camera to feel."""


class TokenBucket:
    """Says how long to wait before bytes may go. Over any span the bytes are at most ``rate * (span + BURST_SECONDS)``.

    Args:
        bytes_per_second: the cap, above 0; 0: none.
        clock: its monotonic face fills the bucket.
    """

    def __init__(self, bytes_per_second: int, clock: Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._tokens = bytes_per_second * BURST_SECONDS
        self._filled_at = clock.monotonic()

    def take(self, count: int) -> float:
        """Takes the tokens of so many bytes; returns the seconds to wait before sending them."""
        if self._rate <= 0:
            return 0.0
        now = self._clock.monotonic()
        earned = (now - self._filled_at) * self._rate
        self._filled_at = now
        self._tokens = min(self._rate * BURST_SECONDS, self._tokens + earned) - count
        return max(0.0, -self._tokens / self._rate)
