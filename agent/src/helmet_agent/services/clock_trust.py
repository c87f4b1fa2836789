# SPDX-License-Identifier: Apache-2.0
"""How far the machine's clock can be believed.

Expiry dates and retention need to know what time it is, and a clock may say anything: 1970 where no battery keeps it,
2099 where somebody mistyped. What is certain is only that time does not go back: it is later than the moment this
program was written and than the last moment at which something fresh was verified. A clock that says otherwise, that
jumps, or that is ahead of what can be is in doubt; then that last moment, and what went by since, takes its place. Old
things may then pass for fresh; fresh ones are never refused as old, and nothing is deleted before its time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import structlog

from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.ports import Clock

PROGRAM_SECONDS = 1_767_225_600.0
"""2026-01-01: this program is younger."""

SLACK_SECONDS = 600.0
"""A clock may be moved by so much without being doubted."""

AWAY_SECONDS = 366 * 86_400.0
"""A node that was off for longer than the root's signature holds is less likely than a wrong clock."""

OUTDATED_SECONDS = 10 * AWAY_SECONDS
"""No program is that old where nothing was ever verified."""

REMEMBER_SECONDS = 3600.0
"""How far time has to go on before it is written down again."""

_log = structlog.get_logger(__name__)


class LastTime(Protocol):
    """Remembers a moment over restarts."""

    def read(self) -> float | None:
        """Unix time; None when nothing is remembered."""

    def write(self, seconds: float) -> None:
        """Remembers another one.

        Raises:
            StorageError: it could not be written.
        """


class ClockTrust:
    """Implements ``timekeeping.Calendar``; from any thread.

    Args:
        clock: the machine's.
        synchronised: whether the kernel says that a time server keeps the clock right; None: it does not say.
        memory: keeps the last moment that was vouched for.
    """

    def __init__(self, clock: Clock, synchronised: Callable[[], bool | None], memory: LastTime) -> None:
        self._clock = clock
        self._synchronised = synchronised
        self._memory = memory
        self._lock = threading.Lock()
        self._remembered = self._written = memory.read()
        self._vouched: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None
        self._doubt: str | None = None

    def now(self) -> float:
        """Unix time to hold expiry dates against: the clock's, or a moment that has passed if that is later."""
        with self._lock:
            self._look()
            return max(self._clock.now(), self._passed())

    def certain(self) -> float:
        """Unix time that has certainly come: the clock's while it is believed."""
        with self._lock:
            self._look()
            return self._clock.now() if self._doubt is None else self._passed()

    def doubt(self) -> str | None:
        """Why the clock is not believed, one line; None while it is."""
        with self._lock:
            self._look()
            return self._doubt

    def vouch(self) -> None:
        """Something that holds for a few days was verified and found fresh at ``now``: the clock is not ahead."""
        with self._lock:
            wall = self._clock.now()
            if wall >= self._passed() - SLACK_SECONDS:
                self._believe(wall)

    def _look(self) -> None:
        wall, monotonic, passed = self._clock.now(), self._clock.monotonic(), self._passed()
        limit = OUTDATED_SECONDS if self._remembered is None else AWAY_SECONDS
        jump = 0.0 if self._last is None else wall - (self._last[0] + monotonic - self._last[1])
        if wall >= PROGRAM_SECONDS and self._synchronised():
            self._believe(wall)
        elif wall < passed - SLACK_SECONDS:
            self._say(f"the clock is {_span(passed - wall)} behind a moment that has passed")
        elif wall > passed + limit:
            self._say(f"the clock is {_span(wall - passed)} ahead of the last moment that is known")
        elif abs(jump) > SLACK_SECONDS:
            self._say(f"the clock has jumped {_span(abs(jump))} {'ahead' if jump > 0.0 else 'back'}")
        else:
            self._say(None)
            self._last = (wall, monotonic)

    def _passed(self) -> float:
        """A moment that has passed for certain; what was only believed does not count."""
        if self._vouched is None:
            return max(PROGRAM_SECONDS, self._remembered or 0.0)
        wall, monotonic = self._vouched
        return max(PROGRAM_SECONDS, wall + self._clock.monotonic() - monotonic)

    def _believe(self, wall: float) -> None:
        self._say(None)
        self._last = self._vouched = (wall, self._clock.monotonic())
        self._remembered = wall
        if self._written is None or abs(wall - self._written) >= REMEMBER_SECONDS:
            try:
                self._memory.write(wall)
                self._written = wall
            except StorageError as error:
                _log.warning("clock: the time could not be written down", reason=str(error))

    def _say(self, doubt: str | None) -> None:
        if (doubt is None) != (self._doubt is None):
            if doubt is None:
                _log.info("clock: believed again")
            else:
                _log.error("clock: not believed; correct it, or let a time server keep it", reason=doubt)
        self._doubt = doubt


def _span(seconds: float) -> str:
    days = seconds / 86_400.0
    return f"{days:.0f} days" if days >= 2.0 else f"{seconds / 60.0:.0f} min"  # noqa: PLR2004 - days
