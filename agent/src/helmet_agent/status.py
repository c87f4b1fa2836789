# SPDX-License-Identifier: Apache-2.0
"""What the node knows of itself at one moment: read by health, metrics and the node API. Standard library only.

The pipeline fills it; nobody who reads it can slow the pipeline down, since everything here is a copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any, Protocol


class Severity(Enum):
    """How bad a problem is: the node still does its work in part, or it does not do it at all."""

    DEGRADED = "degraded"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong now.

    Attributes:
        severity: a dead camera or a full disk is degraded; an inference loop that stands still is failing.
        part: whose problem it is, such as ``source gate`` or ``spool``.
        reason: one line for the operator, free of credentials.
    """

    severity: Severity
    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to "are you well".

    Attributes:
        ok: False only when failing; a supervisor may restart the node then.
        reasons: every problem, the worst first; empty when all is well.
    """

    ok: bool
    reasons: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """``ok``, ``degraded`` or ``failing``."""
        if not self.ok:
            return Severity.FAILING.value
        return Severity.DEGRADED.value if self.reasons else "ok"

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Health:
        """Sums problems up."""
        worst_first = sorted(problems, key=lambda problem: problem.severity is not Severity.FAILING)
        ok = all(problem.severity is not Severity.FAILING for problem in problems)
        return cls(ok, tuple(f"{problem.part}: {problem.reason}" for problem in worst_first))


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source.

    Attributes:
        name: free of credentials.
        live: whether it is a camera or plays the part of one.
        state: ``connecting``, ``streaming``, ``waiting`` (to open again), ``ended`` or ``failed`` (for good).
        frames_read: frames it delivered, those passed over and dropped included.
        last_frame_age_seconds: None before the first frame.
        drops: frames that were not looked at, by cause.
        faults: what was wrong with the material, by cause.
        reconnects: how often it delivered again after it was lost.
        stalls: how often it was closed because no frame came.
        last_error: why it is not streaming; free of credentials.
    """

    name: str
    live: bool
    state: str
    frames_read: int = 0
    last_frame_age_seconds: float | None = None
    drops: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    reconnects: int = 0
    stalls: int = 0
    last_error: str | None = None

    @property
    def up(self) -> bool:
        """Whether it delivers, or came to its proper end."""
        return self.state in ("streaming", "ended")


@dataclass(frozen=True, slots=True)
class LatencyStatus:
    """Latencies in seconds: count and sum since the start, the rest of the latest frames."""

    count: int = 0
    total_seconds: float = 0.0
    median_seconds: float = 0.0
    p99_seconds: float = 0.0
    max_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MiningStatus:
    """Hard example mining since the start.

    Attributes:
        considered: frames judged.
        hard: frames that at least one rule chose.
        kept: examples handed to the sink.
        hard_by_rule, kept_by_rule: the same for each rule.
        drops: hard frames that were not kept, by cause.
    """

    considered: int = 0
    hard: int = 0
    kept: int = 0
    hard_by_rule: Mapping[str, int] = field(default_factory=dict)
    kept_by_rule: Mapping[str, int] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """The spool: what it holds, how full it is, and what happened since the start, by name (``evicted``, ...)."""

    examples: int = 0
    pending: int = 0
    used_bytes: int = 0
    quota_bytes: int = 0
    oldest_seconds: float | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0


UPLINK_STATES = ("idle", "sending", "waiting", "denied", "paused", "stopped")


@dataclass(frozen=True, slots=True)
class UplinkStatus:
    """Sending hard examples to the hub, since the start; what waits is the spool's ``pending``.

    Attributes:
        state: ``idle`` (nothing waits), ``sending``, ``waiting`` (to try again), ``denied`` (the hub does not accept
            the token), ``paused`` (memory is short) or ``stopped``.
        sent: examples that the hub has now.
        already_there: of these, examples that it had before.
        refused: examples that it does not take, each noted in the spool with the reason.
        put_off: examples that failed and let others go first for now.
        sent_bytes: of what arrived; heads, TLS and what had to be repeated are not in it.
        failures: tries that did not succeed.
        last_sent_seconds: when an example last arrived, Unix time.
        offline_since_seconds: when the first try failed after which none has succeeded, Unix time; None when all is
            well.
        last_error: what was wrong with the last try that failed.
        last_refusal: why the last refused example was refused.
    """

    state: str = "idle"
    sent: int = 0
    already_there: int = 0
    refused: int = 0
    put_off: int = 0
    sent_bytes: int = 0
    failures: int = 0
    last_sent_seconds: float | None = None
    offline_since_seconds: float | None = None
    last_error: str | None = None
    last_refusal: str | None = None


@dataclass(frozen=True, slots=True)
class ReportStatus:
    """Telling the hub how the node is, since the start.

    Attributes:
        sent: reports that arrived.
        failures: tries that did not succeed.
        denied: whether the hub did not accept the token the last time.
        last_sent_seconds: when a report last arrived, Unix time.
        last_error: why the last try failed; None when it did not.
    """

    sent: int = 0
    failures: int = 0
    denied: bool = False
    last_sent_seconds: float | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class EventStatus:
    """Compliance events since the start.

    Attributes:
        by_kind: how many of each kind (``violation_started``, ``violation_ended``).
        dropped: events that could not be written, by cause.
        subscribers: who listens to the server-sent events now.
    """

    by_kind: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    subscribers: int = 0


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """Memory and what the governor does about it.

    Attributes:
        used_bytes, limit_bytes: as the governor compares them; None where nothing limits.
        level: 0 sheds nothing, each higher level one thing more.
        shedding: what is shed now, such as ``preview``, ``mining``, ``frame_rate``.
    """

    used_bytes: int = 0
    limit_bytes: int | None = None
    level: int = 0
    shedding: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The live model, and how often it was replaced since the start."""

    name: str
    release: int
    sha256: str
    labels: tuple[str, ...] = ()
    height: int = 0
    width: int = 0
    swaps: int = 0


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """New models and what becomes of them.

    Attributes:
        state: one of ``contract.MODEL_STATES``.
        job, ring: what is followed.
        release, sha256: of the current model.
        candidate: sha256 of the new model on its way; None when there is none.
        quarantined: (sha256, reason) of refused models, the newest first.
        offer: what was made of the channel's latest offer, in words; empty when it has none.
        last_error: why the last poll failed; None when it did not.
        faults_in_a_row: polls that failed since one succeeded.
        checked_seconds: Unix time of the last poll that succeeded.
        clock_doubt: why the clock is not believed, so that expiry dates count only in part; None while it is.
        counters: since the start, by name: ``polls``, ``faults``, ``taken``, ``confirmed``, ``rolled_back``,
            ``quarantined``.
    """

    state: str
    job: str
    ring: str
    release: int
    sha256: str
    candidate: str | None = None
    quarantined: tuple[tuple[str, str], ...] = ()
    offer: str = ""
    last_error: str | None = None
    faults_in_a_row: int = 0
    checked_seconds: float | None = None
    clock_doubt: str | None = None
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """The node at one moment.

    Attributes:
        node: its name.
        version: of the agent.
        started_seconds, taken_seconds: Unix time of the start and of this snapshot.
        ready: whether the model is warm and frames can be processed.
        frames: frames processed since the start.
        failures: frames that the model could not handle.
        inference: time in the network and the decoding.
        age: from a frame's arrival to the end of its inference.
        detections: objects shown, by label.
        sources, mining, spool, uplink, reports, events, memory, model, updates: the parts; None where one is switched
            off.
        preview_viewers: who watches the live picture now.
        problems: all that is wrong now.
    """

    node: str
    version: str
    started_seconds: float
    taken_seconds: float
    ready: bool = False
    frames: int = 0
    failures: int = 0
    inference: LatencyStatus = LatencyStatus()
    age: LatencyStatus = LatencyStatus()
    detections: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[SourceStatus, ...] = ()
    mining: MiningStatus | None = None
    spool: SpoolStatus | None = None
    uplink: UplinkStatus | None = None
    reports: ReportStatus | None = None
    events: EventStatus | None = None
    memory: MemoryStatus | None = None
    model: ModelStatus | None = None
    updates: UpdateStatus | None = None
    preview_viewers: int = 0
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The body of ``/v1/status``: the fields by their names, and ``health`` and ``uptime_seconds`` with them."""
        health = Health.of(self.problems)
        return {
            "health": {"status": health.status, "reasons": list(health.reasons)},
            "uptime_seconds": round(self.taken_seconds - self.started_seconds, 3),
            **plain(self),
        }


class MetricsSource(Protocol):
    """Who can be asked for a snapshot; from any thread, at any time, without waiting for the pipeline."""

    def snapshot(self) -> NodeSnapshot:
        """The node now."""


def plain(value: Any) -> Any:
    """A dataclass and all that is in it as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, PurePath) else value
