# SPDX-License-Identifier: Apache-2.0
"""Sees workers as the rules want them seen: process, last report, and how long ago each was noticed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helmet_cloud.core.worker_outcome import COMPLETED, FAILED, Observation

if TYPE_CHECKING:
    from helmet_cloud.ports import Clock, WorkerReport, WorkerRunner

_SHOWN = 200


@dataclass(slots=True)
class _Times:
    first: float
    gone: float | None = None
    done: float | None = None


class Watch:
    """Observations of workers. A restart forgets the times, and ends the workers that they belong to.

    Args:
        runner: runs them.
        clock: its monotonic time is used: a jump of the wall clock ends no worker.
    """

    def __init__(self, runner: WorkerRunner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock
        self._times: dict[str, _Times] = {}

    def observe(self, worker: str) -> tuple[Observation, WorkerReport | None]:
        """How a worker is now, and its last report."""
        # State first: a report that comes between the two reads is only seen early.
        state = self._runner.state(worker)
        reports = self._runner.reports(worker)
        last = reports[-1] if reports else None
        now = self._clock.monotonic()
        times = self._times.setdefault(worker, _Times(now))
        running = state is not None and state.running
        if not running and times.gone is None:
            times.gone = now
        if last is not None and last.status in {COMPLETED, FAILED} and times.done is None:
            times.done = now
        seen = Observation(
            known=state is not None,
            running=running,
            exit_code=None if state is None else state.exit_code,
            reason=None if state is None else state.reason,
            status=None if last is None else last.status,
            results=() if last is None else tuple(finite(one) for one in last.results),
            running_seconds=now - times.first,
            gone_seconds=0.0 if times.gone is None else now - times.gone,
            done_seconds=0.0 if times.done is None else now - times.done,
        )
        return seen, last

    def forget(self, worker: str) -> None:
        """The worker is over."""
        self._times.pop(worker, None)


def finite(value: Any) -> Any:
    """A JSON value of a report in which no number is infinite or none at all: JSON has no word for these."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def progress(report: WorkerReport | None) -> str:
    """What a running worker says of its progress, in a few words; empty when it says nothing."""
    if report is None or not report.owner_info:
        return ""
    text = ", ".join(
        f"{key} {value}" for key, value in report.owner_info.items() if isinstance(value, str | int | float)
    )
    return "".join(char if char.isprintable() else "?" for char in text)[:_SHOWN]
