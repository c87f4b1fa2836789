# SPDX-License-Identifier: Apache-2.0
"""What has to be done now and then: retention, fresh signatures, a fresh certificate."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger(__name__)
_TURN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to be done every so often.

    Attributes:
        name: for the log.
        every_seconds: how often.
        do: does it; what it raises is logged, and it is tried again the next time.
        at_start: whether it is due at once, too.
    """

    name: str
    every_seconds: float
    do: Callable[[], object]
    at_start: bool = False


class Housekeeping:
    """Does the chores on a thread of its own, one after another.

    Args:
        chores: each is done for the first time one period after the start, or at once.
        monotonic: a clock that never goes back, in seconds.
    """

    def __init__(self, chores: list[Chore], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._chores = chores
        self._monotonic = monotonic
        self._due = {one.name: monotonic() + one.every_seconds * (not one.at_start) for one in chores}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._turned = monotonic()
        self.failures = dict.fromkeys(self._due, 0)

    @property
    def age_seconds(self) -> float:
        """How long ago it last looked what is due."""
        return self._monotonic() - self._turned

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the chore in hand, or leaves it alone after a second."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def turn(self) -> None:
        """Does what is due."""
        self._turned = self._monotonic()
        for one in self._chores:
            if self._stop.is_set() or self._monotonic() < self._due[one.name]:
                continue
            self._due[one.name] = self._monotonic() + one.every_seconds
            try:
                one.do()
            except Exception as error:
                self.failures[one.name] += 1
                _log.error("a chore failed; it is tried again later", chore=one.name, reason=str(error))

    def _run(self) -> None:
        while not self._stop.wait(_TURN_SECONDS):
            self.turn()
