# SPDX-License-Identifier: Apache-2.0
"""A moment that survives restarts, in a file of one number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from helmet_agent.durable import write_atomic

if TYPE_CHECKING:
    from pathlib import Path


class TimeFile:
    """Implements ``services.clock_trust.LastTime``.

    Args:
        path: the file; its folder must exist by the time something is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> float | None:
        """Unix time; None when there is no file or no number in it: then it is not known."""
        try:
            seconds = float(self._path.read_bytes()[:64])
        except (OSError, ValueError):
            return None
        return seconds if math.isfinite(seconds) else None

    def write(self, seconds: float) -> None:
        """Remembers another moment.

        Raises:
            StorageError: it could not be written; the one before is still there.
        """
        write_atomic(self._path, f"{seconds:.0f}\n".encode())
