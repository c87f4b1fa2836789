# SPDX-License-Identifier: Apache-2.0
"""Tells the hub regularly how the node is, and at once when its model changes, on a thread of its own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from helmet_agent.contract import NodeReport
from helmet_agent.errors import HubDenied, HubError, HubUnavailable
from helmet_agent.status import ReportStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from helmet_agent.contract import Quarantined
    from helmet_agent.ports import Clock, Hub
    from helmet_agent.retry import Backoff
    from helmet_agent.status import NodeSnapshot

POLL_SECONDS = 0.5
"""How soon a change of the model is noticed."""

JITTER = 0.1
"""The time between two reports differs from the period by at most this share."""

LONGEST_WAIT_SECONDS = 3600.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelNews:
    """What the node's updater is doing.

    Attributes:
        state: one of ``contract.MODEL_STATES``.
        job: ``namespace/name`` of the job that is followed; None when none is.
        ring: the ring the node belongs to.
        quarantined: models that it refused, the newest first.
    """

    state: str = "idle"
    job: str | None = None
    ring: str = "stable"
    quarantined: tuple[Quarantined, ...] = ()


class ModelWatch(Protocol):
    """Who knows about the node's models: the updater."""

    def news(self) -> ModelNews:
        """What it is doing now; from any thread, without waiting."""


class NoUpdates:
    """Implements ``ModelWatch`` for a node that follows no job."""

    def news(self) -> ModelNews:
        """Nothing goes on."""
        return ModelNews()


class Reporter:
    """Sends reports.

    Args:
        connect: makes the hub's client; called on the reporter's own thread.
        make: the report of this moment; None while there is nothing to tell.
        watch: what makes a report due at once when it differs from the last one sent; called twice a second.
        clock: time.
        period_seconds: between two reports.
        backoff: between tries while the hub is away.
        random: jitter, numbers in [0, 1).
        wait: sleeps for so many seconds and returns whether to end; by default until ``close``.
    """

    def __init__(
        self,
        connect: Callable[[], Hub],
        make: Callable[[], NodeReport | None],
        watch: Callable[[], Hashable],
        clock: Clock,
        *,
        period_seconds: float,
        backoff: Backoff,
        random: Callable[[], float],
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._connect = connect
        self._make = make
        self._watch = watch
        self._clock = clock
        self._period = period_seconds
        self._backoff = backoff
        self._random = random
        self._closing = threading.Event()
        self._wait = wait or self._closing.wait
        self._hub: Hub | None = None
        self._due = clock.monotonic()
        self._not_before = self._due
        self._told: Hashable = None
        self._status = ReportStatus()
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)

    def start(self) -> None:
        """Begins with a first report at once."""
        self._thread.start()

    def status(self) -> ReportStatus:
        """How it goes; from any thread."""
        return self._status

    def close(self, timeout_seconds: float = 0.5) -> None:
        """Ends the thread."""
        self._closing.set()
        if self._hub is not None:
            self._hub.close()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def step(self) -> float:
        """Sends a report if one is due; returns the seconds to wait before the next look."""
        now = self._clock.monotonic()
        present = self._watch()
        if now < self._not_before or (now < self._due and present == self._told):
            return POLL_SECONDS
        report = self._make()
        if report is None:
            return POLL_SECONDS
        try:
            if self._hub is None:
                self._hub = self._connect()
            self._hub.send_report(report)
        except HubError as error:
            self._failed(error)
            return POLL_SECONDS
        self._told = present
        self._due = self._clock.monotonic() + self._period * (1 + JITTER * (2 * self._random() - 1))
        self._backoff.reset()
        self._note(sent=self._status.sent + 1, denied=False, last_sent_seconds=self._clock.now(), last_error=None)
        return POLL_SECONDS

    def _failed(self, error: HubError) -> None:
        if self._closing.is_set():
            return
        delay = self._backoff.next_delay()
        if isinstance(error, HubUnavailable) and error.retry_after_seconds is not None:
            delay = min(LONGEST_WAIT_SECONDS, error.retry_after_seconds + delay)
        denied = isinstance(error, HubDenied)
        if denied:
            delay += self._period
        # Changes of the model wait too: an ailing hub is not helped by more questions.
        self._not_before = self._clock.monotonic() + delay
        if self._status.last_error != str(error):
            _log.warning("the hub cannot be told how this node is; trying again", reason=str(error))
        self._note(failures=self._status.failures + 1, denied=denied, last_error=str(error))

    def _note(self, **changes: Any) -> None:
        self._status = replace(self._status, **changes)

    def _run(self) -> None:
        while not self._wait(POLL_SECONDS):
            try:
                self.step()
            except Exception as error:
                self._failed(HubError(repr(error)))


def report_of(now: NodeSnapshot, before: NodeSnapshot | None, news: ModelNews) -> NodeReport | None:
    """The report for a snapshot; None before there is a model.

    Args:
        now: the node.
        before: the node at the last report, for what is counted by time.
        news: of its updater.
    """
    if now.model is None:
        return None
    return NodeReport(
        node=now.node,
        version=now.version,
        sent_seconds=now.taken_seconds,
        job=news.job,
        ring=news.ring,
        model=now.model.sha256,
        release=now.model.release,
        state=news.state,
        healthy=not now.problems,
        problems=tuple(f"{problem.part}: {problem.reason}" for problem in now.problems),
        rates=_rates(now, before),
        quarantined=news.quarantined,
    )


def _rates(now: NodeSnapshot, before: NodeSnapshot | None) -> dict[str, float]:
    since, frames = (now.started_seconds, 0) if before is None else (before.taken_seconds, before.frames)
    seconds = now.taken_seconds - since
    rates: dict[str, float] = {
        # Unix clocks jump; a span that makes no sense has no rate.
        "frames_per_second": round((now.frames - frames) / seconds, 3) if seconds > 0 else 0.0,
        "inference_ms": round(1000 * now.inference.median_seconds, 3),
        "inference_p99_ms": round(1000 * now.inference.p99_seconds, 3),
        "uptime_seconds": round(max(0.0, now.taken_seconds - now.started_seconds), 1),
        "sources": len(now.sources),
        "sources_up": sum(source.up for source in now.sources),
    }
    if now.model is not None:
        rates["model_swaps"] = now.model.swaps
    if now.events is not None:
        rates["violations"] = now.events.by_kind.get("violation_started", 0)
    if now.spool is not None:
        rates["examples_pending"] = now.spool.pending
        rates["examples_refused"] = now.spool.refused
        rates["spool_bytes"] = now.spool.used_bytes
    if now.uplink is not None:
        rates["examples_sent"] = now.uplink.sent
    if now.memory is not None:
        rates["memory_bytes"] = now.memory.used_bytes
    return rates
