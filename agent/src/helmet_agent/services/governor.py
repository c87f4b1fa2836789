# SPDX-License-Identifier: Apache-2.0
"""The memory governor: sheds work while memory is short, in a fixed order, and leaves in good order when it runs out.

Steps: normal, no preview, no mining, every 2nd frame, every 4th, every 8th. Above the soft share of the limit one step
is taken an interval; well below it they are taken back, one by one, in reverse. At the hard share of the limit, from
whatever step, the process saves everything and leaves with exit code 75 to be started afresh, which beats the kernel's
out-of-memory killer to it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.IntEnum):
    """What is shed; each level sheds what the lower ones shed too."""

    NORMAL = 0
    NO_PREVIEW = 1
    NO_MINING = 2
    FEWER_FRAMES = 3
    STOP = 4


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do until the next decision.

    Attributes:
        level: what is shed.
        frame_divisor: process one frame in so many; 1 below ``FEWER_FRAMES``.
    """

    level: Level
    frame_divisor: int

    @property
    def preview(self) -> bool:
        """Whether preview pictures may be made."""
        return self.level < Level.NO_PREVIEW

    @property
    def mining(self) -> bool:
        """Whether hard examples may be looked for."""
        return self.level < Level.NO_MINING


STEPS = (
    Decision(Level.NORMAL, 1),
    Decision(Level.NO_PREVIEW, 1),
    Decision(Level.NO_MINING, 1),
    Decision(Level.FEWER_FRAMES, 2),
    Decision(Level.FEWER_FRAMES, 4),
    Decision(Level.FEWER_FRAMES, 8),
)
STOP = Decision(Level.STOP, STEPS[-1].frame_divisor)


class MemoryGovernor:
    """Decides from usage and time alone; no clock, no threads, no files.

    Args:
        limit_bytes: the memory that there is; see ``lowest_limit``.
        soft_fraction: at or above this share of it, work is shed.
        hard_fraction: at or above this share, the process leaves; for good, there is no way back from ``STOP``.
        hysteresis_fraction: work comes back only below ``soft_fraction`` less this.
        shed_seconds: least time between two steps down.
        recover_seconds: usage has to stay low for this long before each step back.

    Raises:
        ValueError: the shares are not 0 < soft - hysteresis < soft < hard <= 1, or the limit is not positive.
    """

    def __init__(
        self,
        limit_bytes: int,
        soft_fraction: float = 0.85,
        hard_fraction: float = 0.95,
        *,
        hysteresis_fraction: float = 0.1,
        shed_seconds: float = 5.0,
        recover_seconds: float = 30.0,
    ) -> None:
        low_fraction = soft_fraction - hysteresis_fraction
        if not (limit_bytes > 0 and 0 < low_fraction < soft_fraction < hard_fraction <= 1):
            raise ValueError(
                f"expected 0 < {soft_fraction} - {hysteresis_fraction} < {soft_fraction} < {hard_fraction} <= 1 "
                f"of a positive limit, found {limit_bytes} bytes"
            )
        self.limit_bytes = limit_bytes
        self._low = low_fraction * limit_bytes
        self._soft = soft_fraction * limit_bytes
        self._hard = hard_fraction * limit_bytes
        self._shed_seconds = shed_seconds
        self._recover_seconds = recover_seconds
        self._step = 0
        self._stopped = False
        self._shed_at: float | None = None
        self._low_since: float | None = None

    @property
    def decision(self) -> Decision:
        """The last decision."""
        return STOP if self._stopped else STEPS[self._step]

    def decide(self, usage_bytes: float, now: float) -> Decision:
        """The decision for this moment: at most one step away from the last one, or ``STOP``.

        Args:
            usage_bytes: memory in use, in the terms of the limit.
            now: monotonic seconds; never less than in the call before.
        """
        if usage_bytes >= self._hard:
            self._stopped = True
        elif usage_bytes >= self._soft:
            self._low_since = None
            if self._shed_at is None or now - self._shed_at >= self._shed_seconds:
                self._shed_at = now
                self._step = min(self._step + 1, len(STEPS) - 1)
        elif usage_bytes >= self._low:
            self._low_since = None
        elif self._low_since is None:
            self._low_since = now
        elif now - self._low_since >= self._recover_seconds:
            self._low_since = now
            self._step = max(self._step - 1, 0)
        return self.decision


def lowest_limit(configured_bytes: int | None, group_bytes: int | None, physical_bytes: int) -> int:
    """The limit that counts: the least of the configuration's, the control groups' and the machine's memory."""
    return min(limit for limit in (configured_bytes, group_bytes, physical_bytes) if limit is not None)
