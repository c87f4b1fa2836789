# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics, made from one snapshot when somebody asks; the hot path pays nothing.

Names follow https://prometheus.io/docs/practices/naming/: base units, ``_total`` for what only grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from helmet_agent.status import UPLINK_STATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from helmet_agent.status import LatencyStatus, MetricsSource, NodeSnapshot

PREFIX = "helmet_agent_"
_SPOOL_COUNTERS = "What happened in the spool since the start, by what it was."


def make_registry(source: MetricsSource) -> CollectorRegistry:
    """A registry of its own, holding the node's metrics and those of its process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(source))
    ProcessCollector(registry=registry)
    return registry


class NodeCollector(Collector):
    """Turns a snapshot into metrics whenever the registry is scraped."""

    def __init__(self, source: MetricsSource) -> None:
        self._source = source

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask for a snapshot."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics of one moment."""
        now = self._source.snapshot()
        yield from _node(now)
        yield from _frames(now)
        yield from _sources(now)
        yield from _mining(now)
        yield from _spool(now)
        yield from _uplink(now)
        yield from _reports(now)
        yield from _events(now)
        yield from _memory(now)
        yield from _model(now)
        yield from _updates(now)


def _node(now: NodeSnapshot) -> Iterator[Metric]:
    yield _gauge("info", "The node and the version of its agent.", 1, {"node": now.node, "version": now.version})
    yield _gauge("start_time_seconds", "When the agent started, Unix time.", now.started_seconds)
    yield _gauge("ready", "Whether the model is warm and frames can be processed.", float(now.ready))
    severities = {"degraded": 0, "failing": 0}
    for problem in now.problems:
        severities[problem.severity.value] += 1
    yield _gauges("problems", "Problems right now, by how bad they are.", "severity", severities)
    yield _gauge("preview_viewers", "Who watches the live picture.", now.preview_viewers)


def _frames(now: NodeSnapshot) -> Iterator[Metric]:
    yield _counter("frames_processed", "Frames that the model looked at.", now.frames)
    yield _counter("inference_failures", "Frames that the model could not handle.", now.failures)
    yield _summary("inference_seconds", "Time in the network and the decoding of one frame.", now.inference)
    yield _summary("frame_age_seconds", "From a frame's arrival to the end of its inference.", now.age)
    yield _counters("detections", "Objects shown, by label.", "label", now.detections)


def _sources(now: NodeSnapshot) -> Iterator[Metric]:
    up = {source.name: float(source.up) for source in now.sources}
    yield _gauges("source_up", "Whether a source delivers, or came to its proper end.", "source", up)
    read = {source.name: source.frames_read for source in now.sources}
    yield _counters("source_frames_read", "Frames a source delivered, dropped ones included.", "source", read)
    reconnects = {source.name: source.reconnects for source in now.sources}
    yield _counters("source_reconnects", "How often a lost source delivered again.", "source", reconnects)
    stalls = {source.name: source.stalls for source in now.sources}
    yield _counters("source_stalls", "How often a source was closed because no frame came.", "source", stalls)
    ages = {
        source.name: source.last_frame_age_seconds
        for source in now.sources
        if source.last_frame_age_seconds is not None
    }
    yield _gauges("source_last_frame_age_seconds", "Since a source's last frame.", "source", ages)
    drops = CounterMetricFamily(
        PREFIX + "frames_dropped", "Frames that were not looked at, by cause.", labels=("source", "cause")
    )
    faults = CounterMetricFamily(
        PREFIX + "source_faults", "Faults in a source's material, by cause.", labels=("source", "cause")
    )
    for source in now.sources:
        for family, causes in ((drops, source.drops), (faults, source.faults)):
            for cause, count in sorted(causes.items()):
                family.add_metric((source.name, cause), count)
    yield drops
    yield faults


def _mining(now: NodeSnapshot) -> Iterator[Metric]:
    if now.mining is None:
        return
    yield _counter("mining_frames_considered", "Frames that the mining rules judged.", now.mining.considered)
    yield _counter("mining_frames_hard", "Frames that at least one rule chose.", now.mining.hard)
    yield _counter("mining_examples_kept", "Hard examples handed to the sink.", now.mining.kept)
    yield _counters("mining_rule_hard", "Frames that a rule chose.", "rule", now.mining.hard_by_rule)
    yield _counters("mining_rule_kept", "Hard examples kept under a rule.", "rule", now.mining.kept_by_rule)
    yield _counters("mining_dropped", "Hard frames that were not kept, by cause.", "cause", now.mining.drops)


def _spool(now: NodeSnapshot) -> Iterator[Metric]:
    if now.spool is None:
        return
    yield _gauge("spool_examples", "Hard examples in the spool.", now.spool.examples)
    yield _gauge("spool_pending_examples", "Hard examples in the spool that were not sent yet.", now.spool.pending)
    yield _gauge("spool_refused_examples", "Hard examples in the spool that the hub does not take.", now.spool.refused)
    yield _gauge("spool_bytes", "Disk space that the spool takes.", now.spool.used_bytes)
    yield _gauge("spool_quota_bytes", "Disk space that the spool may take.", now.spool.quota_bytes)
    yield _counters("spool_changes", _SPOOL_COUNTERS, "change", now.spool.counters)


def _uplink(now: NodeSnapshot) -> Iterator[Metric]:
    link = now.uplink
    if link is None:
        return
    yield _counter("uplink_examples_sent", "Hard examples that the hub has now.", link.sent)
    yield _counter("uplink_examples_known", "Of these, examples that the hub had before.", link.already_there)
    yield _counter("uplink_examples_refused", "Hard examples that the hub did not take.", link.refused)
    yield _counter("uplink_sent_bytes", "Pictures that arrived at the hub.", link.sent_bytes)
    yield _counter("uplink_failures", "Tries to send that did not succeed.", link.failures)
    yield _gauge("uplink_online", "Whether the last try succeeded.", float(link.offline_since_seconds is None))
    states = {state: float(state == link.state) for state in UPLINK_STATES}
    yield _gauges("uplink_state", "What the uplink is doing.", "state", states)


def _reports(now: NodeSnapshot) -> Iterator[Metric]:
    if now.reports is None:
        return
    yield _counter("reports_sent", "Reports that the hub has got.", now.reports.sent)
    yield _counter("report_failures", "Tries to report that did not succeed.", now.reports.failures)


def _events(now: NodeSnapshot) -> Iterator[Metric]:
    if now.events is None:
        return
    yield _counters("events", "Compliance events, by kind.", "kind", now.events.by_kind)
    yield _counters("events_dropped", "Events that could not be written, by cause.", "cause", now.events.dropped)
    yield _gauge("event_subscribers", "Who listens to the server-sent events.", now.events.subscribers)


def _memory(now: NodeSnapshot) -> Iterator[Metric]:
    if now.memory is None:
        return
    yield _gauge("memory_bytes", "Memory in use, as the governor sees it.", now.memory.used_bytes)
    if now.memory.limit_bytes is not None:
        yield _gauge("memory_limit_bytes", "Memory that may be used.", now.memory.limit_bytes)
    yield _gauge("governor_level", "How much the governor sheds: 0 nothing.", now.memory.level)


def _model(now: NodeSnapshot) -> Iterator[Metric]:
    if now.model is None:
        return
    labels = {"name": now.model.name, "release": str(now.model.release), "sha256": now.model.sha256}
    yield _gauge("model_info", "The live model.", 1, labels)
    yield _gauge("model_release", "Release number of the live model.", now.model.release)
    yield _counter("model_swaps", "How often the live model was replaced.", now.model.swaps)


def _updates(now: NodeSnapshot) -> Iterator[Metric]:
    updates = now.updates
    if updates is None:
        return
    labels = {"state": updates.state, "job": updates.job, "ring": updates.ring}
    yield _gauge("updates_info", "What the updater is doing, and what it follows.", 1, labels)
    yield _gauge(
        "updates_quarantined_models", "Models that are refused until an operator says so.", len(updates.quarantined)
    )
    yield _gauge("updates_faults_in_a_row", "Polls that failed since one succeeded.", updates.faults_in_a_row)
    yield _gauge("updates_clock_trusted", "Whether the clock is believed: 1 or 0.", int(updates.clock_doubt is None))
    if updates.checked_seconds is not None:
        yield _gauge(
            "updates_checked_time_seconds", "When the channel was last read, Unix time.", updates.checked_seconds
        )
    yield _counters("updates", "What the updater did since the start, by what it was.", "what", updates.counters)


def _gauge(name: str, about: str, value: float, labels: Mapping[str, str] | None = None) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, about, labels=tuple(labels or ()))
    family.add_metric(tuple((labels or {}).values()), value)
    return family


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, about, labels=(label,))
    _fill(family, values)
    return family


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, about, value=value)


def _counters(name: str, about: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, about, labels=(label,))
    _fill(family, values)
    return family


def _fill(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> None:
    for key, value in sorted(values.items()):
        family.add_metric((key,), value)


def _summary(name: str, about: str, latency: LatencyStatus) -> Metric:
    """Count and sum since the start, quantiles of the latest frames."""
    family = SummaryMetricFamily(PREFIX + name, about, count_value=latency.count, sum_value=latency.total_seconds)
    quantiles: Sequence[tuple[str, float]] = (
        ("0.5", latency.median_seconds),
        ("0.99", latency.p99_seconds),
        ("1", latency.max_seconds),
    )
    for quantile, value in quantiles:
        # Without frames there is no quantile: NaN, as Prometheus' own clients say it.
        family.add_sample(PREFIX + name, {"quantile": quantile}, value if latency.count else float("nan"))
    return family
