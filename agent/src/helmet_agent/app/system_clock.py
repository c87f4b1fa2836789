# SPDX-License-Identifier: Apache-2.0
"""The machine's own clock."""

from __future__ import annotations

import time


class SystemClock:
    """Implements ``ports.Clock``."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)
