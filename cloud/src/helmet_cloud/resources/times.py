# SPDX-License-Identifier: Apache-2.0
"""Times of day, as the timers of a trigger have them."""

from __future__ import annotations

import re

MINUTES_OF_DAY = 24 * 60
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})\Z")


def minute_of_day(value: object) -> int:
    """``"20:00"`` as 1200, and 1200 as itself: a YAML 1.1 reader takes an unquoted 20:00 for minutes in base 60.

    Returns:
        Minutes since midnight, 0 to 1439.

    Raises:
        ValueError: it is no time of day; the message says what was expected.
    """
    match = _TIME.match(value) if isinstance(value, str) else None
    if match and int(match[1]) < 24 and int(match[2]) < 60:  # noqa: PLR2004 - hours and minutes
        return int(match[1]) * 60 + int(match[2])
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MINUTES_OF_DAY:
        return value
    raise ValueError("expected a time of day from 00:00 to 23:59, in quotes")


def clock_text(minute: int) -> str:
    """1200 as ``20:00``."""
    return f"{minute // 60:02d}:{minute % 60:02d}"
