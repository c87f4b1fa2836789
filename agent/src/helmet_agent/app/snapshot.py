# SPDX-License-Identifier: Apache-2.0
"""Gathers what the parts know of themselves into one snapshot, and says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.status import (
    LatencyStatus,
    MiningStatus,
    ModelStatus,
    Problem,
    Severity,
    SourceStatus,
    SpoolStatus,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from helmet_agent.adapters.spool import Spool
    from helmet_agent.ports import Detector
    from helmet_agent.runtime import ModelSlot
    from helmet_agent.services.ingest import Ingest
    from helmet_agent.services.ingest import SourceStatus as IngestStatus
    from helmet_agent.services.latency import LatencySummary
    from helmet_agent.status import ReportStatus, UpdateStatus, UplinkStatus

FAULTY_POLLS = 3
"""So many polls in a row that fail show in the health; single ones fail now and then."""

OFFLINE_SECONDS = 600.0
"""A hub that is away for so long shows in the health; sites lose their line now and then."""


def source_status(status: IngestStatus) -> SourceStatus:
    """A source as the outside sees it."""
    return SourceStatus(
        name=status.name,
        live=status.live,
        state=status.state,
        frames_read=status.frames_read,
        last_frame_age_seconds=status.last_frame_age_seconds,
        drops=dict(status.drops),
        faults=dict(status.faults),
        reconnects=status.reconnects,
        stalls=status.stalls,
        last_error=status.last_error,
    )


def latency_status(summary: LatencySummary) -> LatencyStatus:
    """Latencies as the outside sees them."""
    return LatencyStatus(
        summary.count, summary.total_seconds, summary.median_seconds, summary.p99_seconds, summary.max_seconds
    )


def mining_status(counters: Mapping[str, int]) -> MiningStatus:
    """Mining as the outside sees it, from its counters' names."""

    def part(prefix: str) -> dict[str, int]:
        return {name.removeprefix(prefix): count for name, count in counters.items() if name.startswith(prefix)}

    return MiningStatus(
        considered=counters["considered"],
        hard=counters["hard"],
        kept=counters["kept"],
        hard_by_rule=part("hard."),
        kept_by_rule=part("kept."),
        drops=part("dropped."),
    )


def spool_status(spool: Spool) -> SpoolStatus:
    """The spool as the outside sees it."""
    stats = spool.stats()
    return SpoolStatus(
        stats.examples,
        stats.pending,
        stats.used_bytes,
        stats.quota_bytes,
        stats.oldest_seconds,
        stats.counters,
        stats.refused,
    )


def model_status(slot: ModelSlot) -> ModelStatus:
    """The live model as the outside sees it."""
    detector: Detector = slot.current
    manifest = detector.manifest
    return ModelStatus(
        manifest.name,
        manifest.release,
        manifest.model.sha256,
        manifest.labels,
        manifest.input.height,
        manifest.input.width,
        slot.swaps,
    )


def source_problems(sources: tuple[SourceStatus, ...]) -> Iterator[Problem]:
    """A source that does not deliver is degraded health: restarting us would not bring it back."""
    for source in sources:
        if not source.up:
            yield Problem(Severity.DEGRADED, f"source {source.name}", source.last_error or source.state)


def hub_problems(uplink: UplinkStatus | None, reports: ReportStatus | None, now: float) -> Iterator[Problem]:
    """A hub that does not accept the token, or is away for long, is degraded health: examples wait on this node."""
    if uplink is not None and uplink.state == "denied":
        yield Problem(Severity.DEGRADED, "hub", uplink.last_error or "does not accept the token")
    elif reports is not None and reports.denied:
        yield Problem(Severity.DEGRADED, "hub", reports.last_error or "does not accept the token")
    elif uplink is not None and uplink.offline_since_seconds is not None:
        away = now - uplink.offline_since_seconds
        if away >= OFFLINE_SECONDS:
            yield Problem(
                Severity.DEGRADED, "hub", f"no example could be sent for {away / 60:.0f} min: {uplink.last_error}"
            )


def update_problems(updates: UpdateStatus) -> Iterator[Problem]:
    """A channel that cannot be read for several polls, or a clock that is not believed, is degraded health only."""
    if updates.last_error is not None and updates.faults_in_a_row >= FAULTY_POLLS:
        yield Problem(Severity.DEGRADED, "updates", updates.last_error)
    if updates.clock_doubt is not None:
        yield Problem(Severity.DEGRADED, "clock", f"{updates.clock_doubt}; expiry dates count only in part until then")


def ingest_statuses(ingest: Ingest) -> tuple[SourceStatus, ...]:
    """All sources as the outside sees them."""
    return tuple(source_status(status) for status in ingest.statuses())
