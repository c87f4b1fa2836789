# SPDX-License-Identifier: Apache-2.0
"""The hours of the day in which a trigger may fire: real times of a real zone, not texts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

MINUTES_A_DAY = 1440

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)


def minute_of_day(text: str) -> int:
    """``02:00`` or ``2:00`` as minutes since midnight, 0 to 1439.

    Raises:
        ValueError: it is no time of day.
    """
    found = _CLOCK.fullmatch(text)
    hours, minutes = (int(found[1]), int(found[2])) if found else (24, 0)
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - a clock
        raise ValueError(f"expected a time of day from 00:00 to 23:59, found {text!r}")
    return hours * 60 + minutes


@dataclass(frozen=True, slots=True)
class Window:
    """From the first second of ``start`` to the last second of ``end``, both included, past midnight where end < start.

    Clock times are those that the zone's clocks show: in the night when they jump forward, a window inside the
    missing hour does not open; when they go back, the hour that comes twice counts twice.

    Attributes:
        start, end: minutes since midnight, 0 to 1439.
        zone: whose clocks.
    """

    start: int
    end: int
    zone: ZoneInfo

    def __post_init__(self) -> None:
        for minute in (self.start, self.end):
            if not 0 <= minute < MINUTES_A_DAY:
                raise ValueError(f"expected a minute of the day from 0 to {MINUTES_A_DAY - 1}, found {minute}")

    def __contains__(self, unix_seconds: float) -> bool:
        local = datetime.fromtimestamp(unix_seconds, UTC).astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        if self.start <= self.end:
            return self.start <= minute <= self.end
        return minute >= self.start or minute <= self.end

    def __str__(self) -> str:
        return f"{_clock(self.start)}-{_clock(self.end)} {self.zone.key}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
