# SPDX-License-Identifier: Apache-2.0
"""The machine's own clock."""

from __future__ import annotations

import contextlib
import ctypes
import time
from typing import TYPE_CHECKING

from helmet_agent.adapters.last_time import TimeFile
from helmet_agent.services.clock_trust import ClockTrust

if TYPE_CHECKING:
    from helmet_agent.config import AgentConfig
    from helmet_agent.ports import Clock

TIME_NAME = "last-time"
_TIMEX_BYTES = 512  # struct timex and room to spare
_STATUS_AT = 5 * ctypes.sizeof(ctypes.c_long)  # modes (padded), offset, freq, maxerror, esterror: then status
_STA_UNSYNC = 0x40


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


def synchronised() -> bool | None:
    """Whether the kernel says that a time server keeps this clock right (adjtimex(2)); None: it does not say."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    with contextlib.suppress(OSError, AttributeError):
        if ctypes.CDLL(None).adjtimex(timex) >= 0:
            status = ctypes.c_int.from_buffer(timex, _STATUS_AT).value
            return not status & _STA_UNSYNC
    return None


def make_calendar(config: AgentConfig, clock: Clock) -> ClockTrust:
    """How far the clock can be believed, with what earlier runs knew."""
    return ClockTrust(clock, synchronised, TimeFile(config.node.data_dir / TIME_NAME))
