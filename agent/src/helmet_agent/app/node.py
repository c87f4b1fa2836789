# SPDX-License-Identifier: Apache-2.0
"""The running node as its HTTP interface, its metrics and systemd see it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from helmet_agent import __version__
from helmet_agent.api.broadcast import EventBroadcast
from helmet_agent.api.preview import PreviewDesk
from helmet_agent.app.latest import jpeg
from helmet_agent.app.memory import memory_status
from helmet_agent.app.snapshot import (
    hub_problems,
    ingest_statuses,
    latency_status,
    mining_status,
    model_status,
    source_problems,
    spool_status,
    update_problems,
)
from helmet_agent.status import EventStatus, Health, NodeSnapshot, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_agent.app.composition import Agent
    from helmet_agent.contract import ModelManifest
    from helmet_agent.ports import Clock
    from helmet_agent.services.governor_loop import GovernorLoop
    from helmet_agent.services.reporting import Reporter
    from helmet_agent.status import MemoryStatus, ReportStatus, UplinkStatus

STUCK_SECONDS = 15.0
"""A stage loop that has not turned for so long stands still; longer than any wait inside one."""

TROUBLE_SECONDS = 60.0
"""For so long a lost example or event shows in the health."""


class Node:
    """Watches the parts of a running agent; every method may be called from any thread.

    Args:
        agent: the parts.
        clock: time.
    """

    def __init__(self, agent: Agent, clock: Clock) -> None:
        self._agent = agent
        self._clock = clock
        self._started = clock.now()
        self._warm = threading.Event()
        self._stopping = threading.Event()
        self._governor: GovernorLoop | None = None
        self._reporter: Reporter | None = None
        self._lost = 0
        self._lost_at = 0.0
        self.events = EventBroadcast()
        self.preview = PreviewDesk(agent.latest.get, jpeg)

    def started(self) -> None:
        """The model is warm and the sources are being read."""
        self._warm.set()

    def stopping(self) -> None:
        """The agent has begun to stop."""
        self._stopping.set()

    def watch_memory(self, governor: GovernorLoop) -> None:
        """Asks this governor for the state of memory from now on."""
        self._governor = governor

    def watch_reports(self, reporter: Reporter) -> None:
        """Asks this reporter how telling the hub goes from now on."""
        self._reporter = reporter

    def manifest(self) -> ModelManifest:
        """The live model's manifest."""
        return self._agent.slot.current.manifest

    def beats(self) -> dict[str, float]:
        """Seconds since each stage loop last turned; a source that waits to reconnect turns too."""
        now = self._clock.monotonic()
        ages = self._agent.pipeline.beats()
        for status in self._agent.ingest.statuses():
            if status.state not in ("ended", "failed"):
                ages[f"source {status.name}"] = now - status.heartbeat_seconds
        return ages

    def health(self) -> Health:
        """Whether the node does its work."""
        return Health.of(tuple(self._problems()))

    def ready(self) -> Health:
        """Whether frames can be processed."""
        if self._stopping.is_set():
            return Health(ok=False, reasons=("agent: is stopping",))
        if not self._warm.is_set():
            return Health(ok=False, reasons=("agent: is starting",))
        return Health(ok=True)

    def snapshot(self) -> NodeSnapshot:
        """The node now."""
        agent = self._agent
        counters = agent.pipeline.counters
        return NodeSnapshot(
            node=agent.config.node.name,
            version=__version__,
            started_seconds=self._started,
            taken_seconds=self._clock.now(),
            ready=self.ready().ok,
            frames=counters.frames,
            failures=counters.failures,
            inference=latency_status(agent.pipeline.inference.summary()),
            age=latency_status(agent.pipeline.age.summary()),
            detections=dict(counters.detections),
            sources=ingest_statuses(agent.ingest),
            mining=None if agent.mining is None else mining_status(agent.mining.counters()),
            spool=None if agent.spool is None else spool_status(agent.spool),
            uplink=self._uplink(),
            reports=self._reports(),
            events=EventStatus(agent.events.by_kind(), agent.events.dropped(), self.events.listeners),
            memory=self._memory(),
            model=model_status(agent.slot),
            updates=None if agent.updates is None else agent.updates.status(),
            preview_viewers=self.preview.viewers,
            problems=tuple(self._problems()),
        )

    def _problems(self) -> Iterator[Problem]:
        for name, age in self.beats().items():
            if age > STUCK_SECONDS:
                yield Problem(Severity.FAILING, name, f"stands still for {age:.0f} s; it will be restarted")
        yield from source_problems(ingest_statuses(self._agent.ingest))
        if self._agent.updates is not None:
            yield from update_problems(self._agent.updates.status())
        lost = self._lost_lately()
        if lost:
            yield Problem(
                Severity.DEGRADED, "storage", f"{lost} examples or events could not be kept so far; see the log"
            )
        yield from hub_problems(self._uplink(), self._reports(), self._clock.now())
        memory = self._memory()
        if memory is not None and memory.level > 0:
            shed = ", ".join(memory.shedding)
            yield Problem(Severity.DEGRADED, "memory", f"near its limit; left out for now: {shed}")

    def _uplink(self) -> UplinkStatus | None:
        return None if self._agent.uplink is None else self._agent.uplink.status()

    def _reports(self) -> ReportStatus | None:
        return None if self._reporter is None else self._reporter.status()

    def _memory(self) -> MemoryStatus | None:
        return None if self._governor is None else memory_status(self._governor)

    def _lost_lately(self) -> int:
        """Examples and events that could not be kept since the start, if that number grew in the last minute."""
        agent = self._agent
        total = agent.events.dropped().get("storage", 0)
        if agent.mining is not None:
            total += sum(agent.mining.counters()[f"dropped.{cause}"] for cause in ("sink_error", "encode_error"))
        now = self._clock.monotonic()
        if total != self._lost:
            self._lost, self._lost_at = total, now
        return total if total and now - self._lost_at < TROUBLE_SECONDS else 0
