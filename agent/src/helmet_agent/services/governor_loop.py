# SPDX-License-Identifier: Apache-2.0
"""Drives the memory governor: readings in, callbacks out, from a thread of its own."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from helmet_agent.errors import RestartWanted
from helmet_agent.quantities import format_bytes
from helmet_agent.services.governor import Level, MemoryGovernor, lowest_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from helmet_agent.ports import Clock
    from helmet_agent.services.governor import Decision

_log = structlog.get_logger(__name__)


class Group(Protocol):
    """One control group of a reading; see ``adapters.memory_reader.GroupMemory``."""

    @property
    def used_bytes(self) -> int:
        """Its working set."""

    @property
    def limit_bytes(self) -> int | None:
        """Its own limit; None when it has none."""


class Reading(Protocol):
    """One look at memory; see ``adapters.memory_reader.MemoryReading``."""

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process."""

    @property
    def physical_bytes(self) -> int:
        """Memory of the machine."""

    @property
    def groups(self) -> Iterable[Group]:
        """The process's control group and its parents."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How near memory is to one of its limits.

    Attributes:
        used_bytes: what the limit counts.
        limit_bytes: the limit, positive.
    """

    used_bytes: int
    limit_bytes: int

    @property
    def share(self) -> float:
        """Used by limit; at 1 the kernel or the operator says no."""
        return self.used_bytes / self.limit_bytes


def tightest(reading: Reading, configured_bytes: int | None) -> Pressure:
    """The limit that memory is nearest to.

    The configured limit and the machine's memory are held against the process itself, a control group's limit against
    that group: in a group shared with others, their memory brings the end nearer as ours does.
    """
    own = Pressure(reading.rss_bytes, lowest_limit(configured_bytes, None, reading.physical_bytes))
    groups = [Pressure(group.used_bytes, group.limit_bytes) for group in reading.groups if group.limit_bytes]
    return max(own, *groups, key=lambda pressure: pressure.share) if groups else own


class GovernorLoop:
    """Looks at memory regularly and tells the pipeline what changed, from a thread of its own.

    Args:
        read: one reading, such as ``MemoryReader().read``.
        configured_bytes: the configuration's limit; None: only the groups' and the machine's.
        apply: called with every decision that differs from the one before, never with ``STOP``; must not block. Called
            again when it fails.
        stop: called once, with the reason, when the hard limit is reached: the application flushes its spool and its
            events and ends with the error's exit code, 75.
        clock: its monotonic time drives the governor.
        period_seconds: time between two readings.
        soft_fraction, hard_fraction, hysteresis_fraction, shed_seconds, recover_seconds: see ``MemoryGovernor``.

    Raises:
        ValueError: see ``MemoryGovernor``.
    """

    def __init__(
        self,
        read: Callable[[], Reading],
        apply: Callable[[Decision], None],
        stop: Callable[[RestartWanted], None],
        clock: Clock,
        *,
        configured_bytes: int | None = None,
        period_seconds: float = 1.0,
        soft_fraction: float = 0.85,
        hard_fraction: float = 0.95,
        hysteresis_fraction: float = 0.1,
        shed_seconds: float = 5.0,
        recover_seconds: float = 30.0,
    ) -> None:
        self._read = read
        self._apply = apply
        self._stop = stop
        self._clock = clock
        self._configured = configured_bytes
        self._period = period_seconds
        first = read()
        group = min((group.limit_bytes for group in first.groups if group.limit_bytes), default=None)
        self._governor = MemoryGovernor(
            lowest_limit(configured_bytes, group, first.physical_bytes),
            soft_fraction,
            hard_fraction,
            hysteresis_fraction=hysteresis_fraction,
            shed_seconds=shed_seconds,
            recover_seconds=recover_seconds,
        )
        self._applied = self._governor.decision
        self.failures = 0
        self._pressure = tightest(first, configured_bytes)
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def limit_bytes(self) -> int:
        """The lowest limit when the loop was made."""
        return self._governor.limit_bytes

    @property
    def decision(self) -> Decision:
        """What is shed at present."""
        return self._governor.decision

    @property
    def pressure(self) -> Pressure:
        """The limit that memory was nearest to at the last look."""
        return self._pressure

    def start(self) -> None:
        """Looks every period until ``close`` or the hard limit."""
        self._thread = threading.Thread(target=self._run, name="governor", daemon=True)
        self._thread.start()

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Ends the thread; idempotent, and fine from within ``stop``."""
        self._leaving.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_seconds)

    def tick(self) -> Decision:
        """Looks once and acts; the thread does nothing else."""
        self._pressure = tightest(self._read(), self._configured)
        # The governor thinks in one limit; the nearest one is scaled to it.
        usage = self._pressure.share * self._governor.limit_bytes
        decision = self._governor.decide(usage, self._clock.monotonic())
        used, limit = format_bytes(self._pressure.used_bytes), format_bytes(self._pressure.limit_bytes)
        if decision.level is Level.STOP:
            if not self._leaving.is_set():
                self._stop(RestartWanted(f"memory is nearly used up: {used} of {limit}; leaving to be started afresh"))
                self._leaving.set()
        elif decision != self._applied:
            # "level" is the log line's own.
            step = f"{decision.level.name.lower()} {decision.frame_divisor}"
            _log.warning("memory: what is shed has changed", step=step, used=used, limit=limit)
            self._apply(decision)
            self._applied = decision
        return decision

    def _run(self) -> None:
        while not self._leaving.wait(self._period):
            try:
                self.tick()
            except Exception as error:
                self.failures += 1
                _log.error("memory could not be governed this time", reason=repr(error))
