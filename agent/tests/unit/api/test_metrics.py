# SPDX-License-Identifier: Apache-2.0
"""The metrics say what the snapshot says, by Prometheus' conventions."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from helmet_agent.metrics import make_registry
from helmet_agent.status import (
    EventStatus,
    Health,
    LatencyStatus,
    MemoryStatus,
    MiningStatus,
    ModelStatus,
    NodeSnapshot,
    Problem,
    ReportStatus,
    Severity,
    SourceStatus,
    SpoolStatus,
    UplinkStatus,
)

FULL = NodeSnapshot(
    node="site-3",
    version="0.1.0",
    started_seconds=1000.0,
    taken_seconds=1060.5,
    ready=True,
    frames=300,
    failures=1,
    inference=LatencyStatus(300, 3.0, 0.009, 0.02, 0.03),
    age=LatencyStatus(300, 6.0, 0.02, 0.04, 0.05),
    detections={"person": 40, "helmet-on": 20},
    sources=(
        SourceStatus("gate", True, "streaming", 400, 0.1, {"every_nth": 90, "replaced": 10}, {"truncated": 1}, 2, 1),
        SourceStatus("yard", True, "waiting", last_error="no answer"),
        SourceStatus("clip", False, "ended", 60, 30.0),
    ),
    mining=MiningStatus(300, 50, 10, {"IBT": 48, "TrackLost": 2}, {"IBT": 8, "TrackLost": 2}, {"budget": 40}),
    spool=SpoolStatus(10, 9, 4096, 1 << 30, 1001.0, {"evicted": 3}, 4),
    uplink=UplinkStatus("denied", 7, 2, 1, 0, 9000, 5, 1050.0, 1055.0, "answered 401"),
    reports=ReportStatus(sent=6, failures=3),
    events=EventStatus({"violation_started": 2, "violation_ended": 1}, {"disk": 1}, 1),
    memory=MemoryStatus(150 << 20, 2 << 30, 1, ("preview",)),
    model=ModelStatus("helmet", 3, "a" * 64, ("person",), 352, 640, 2),
    preview_viewers=1,
    problems=(
        Problem(Severity.DEGRADED, "source yard", "no answer"),
        Problem(Severity.FAILING, "inference", "stands still"),
    ),
)


class Fixed:
    def __init__(self, snapshot: NodeSnapshot) -> None:
        self.taken = 0
        self._snapshot = snapshot

    def snapshot(self) -> NodeSnapshot:
        self.taken += 1
        return self._snapshot


def scrape(source: Fixed) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(make_registry(source)).decode()
    return {
        (sample.name.removeprefix("helmet_agent_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_part_of_the_snapshot_is_there() -> None:
    found = scrape(Fixed(FULL))
    expected = {
        ("info", (("node", "site-3"), ("version", "0.1.0"))): 1,
        ("start_time_seconds", ()): 1000,
        ("ready", ()): 1,
        ("problems", (("severity", "degraded"),)): 1,
        ("problems", (("severity", "failing"),)): 1,
        ("preview_viewers", ()): 1,
        ("frames_processed_total", ()): 300,
        ("inference_failures_total", ()): 1,
        ("inference_seconds_count", ()): 300,
        ("inference_seconds_sum", ()): 3,
        ("inference_seconds", (("quantile", "0.5"),)): 0.009,
        ("inference_seconds", (("quantile", "0.99"),)): 0.02,
        ("frame_age_seconds", (("quantile", "1"),)): 0.05,
        ("detections_total", (("label", "person"),)): 40,
        ("source_up", (("source", "gate"),)): 1,
        ("source_up", (("source", "yard"),)): 0,
        ("source_up", (("source", "clip"),)): 1,
        ("source_frames_read_total", (("source", "gate"),)): 400,
        ("source_reconnects_total", (("source", "gate"),)): 2,
        ("source_stalls_total", (("source", "gate"),)): 1,
        ("source_last_frame_age_seconds", (("source", "gate"),)): 0.1,
        ("frames_dropped_total", (("cause", "replaced"), ("source", "gate"))): 10,
        ("source_faults_total", (("cause", "truncated"), ("source", "gate"))): 1,
        ("mining_frames_considered_total", ()): 300,
        ("mining_frames_hard_total", ()): 50,
        ("mining_examples_kept_total", ()): 10,
        ("mining_rule_hard_total", (("rule", "IBT"),)): 48,
        ("mining_rule_kept_total", (("rule", "TrackLost"),)): 2,
        ("mining_dropped_total", (("cause", "budget"),)): 40,
        ("spool_examples", ()): 10,
        ("spool_pending_examples", ()): 9,
        ("spool_bytes", ()): 4096,
        ("spool_quota_bytes", ()): 1 << 30,
        ("spool_changes_total", (("change", "evicted"),)): 3,
        ("spool_refused_examples", ()): 4,
        ("uplink_examples_sent_total", ()): 7,
        ("uplink_examples_known_total", ()): 2,
        ("uplink_examples_refused_total", ()): 1,
        ("uplink_sent_bytes_total", ()): 9000,
        ("uplink_failures_total", ()): 5,
        ("uplink_online", ()): 0,
        ("uplink_state", (("state", "denied"),)): 1,
        ("uplink_state", (("state", "idle"),)): 0,
        ("reports_sent_total", ()): 6,
        ("report_failures_total", ()): 3,
        ("events_total", (("kind", "violation_started"),)): 2,
        ("events_dropped_total", (("cause", "disk"),)): 1,
        ("event_subscribers", ()): 1,
        ("memory_bytes", ()): 150 << 20,
        ("memory_limit_bytes", ()): 2 << 30,
        ("governor_level", ()): 1,
        ("model_info", (("name", "helmet"), ("release", "3"), ("sha256", "a" * 64))): 1,
        ("model_release", ()): 3,
        ("model_swaps_total", ()): 2,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("source_last_frame_age_seconds", (("source", "yard"),)) not in found


def test_one_scrape_takes_one_snapshot_and_registering_none() -> None:
    source = Fixed(FULL)
    registry = make_registry(source)
    assert source.taken == 0
    generate_latest(registry)
    assert source.taken == 1


def test_parts_that_are_switched_off_are_absent_not_zero() -> None:
    bare = NodeSnapshot("n", "0", 0.0, 0.0)
    names = {name for name, _ in scrape(Fixed(bare))}
    assert not {name for name in names if name.startswith(("mining_", "spool_", "events_", "memory_", "model_"))}
    assert "frames_processed_total" in names


def test_names_carry_their_unit_and_only_counters_end_in_total() -> None:
    for family in make_registry(Fixed(FULL)).collect():
        if not family.name.startswith("helmet_agent_"):
            continue
        assert family.documentation.endswith(".")
        assert not family.name.endswith(("_ms", "_mib", "_percent"))
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")


def test_odd_label_values_survive() -> None:
    odd = replace(FULL, detections={'a"b\n\\': 7})
    assert scrape(Fixed(odd))[("detections_total", (("label", 'a"b\n\\'),))] == 7


def test_health_is_the_worst_problem_first() -> None:
    health = Health.of(FULL.problems)
    assert (health.ok, health.status) == (False, "failing")
    assert health.reasons == ("inference: stands still", "source yard: no answer")
    assert Health.of(FULL.problems[:1]).status == "degraded"
    assert Health.of(FULL.problems[:1]).ok
    assert Health.of(()).status == "ok"


def test_the_snapshot_as_json() -> None:
    document = FULL.to_json()
    assert document["uptime_seconds"] == 60.5
    assert document["health"]["status"] == "failing"
    assert document["sources"][0]["drops"] == {"every_nth": 90, "replaced": 10}
    assert document["problems"][0]["severity"] == "degraded"
    assert document["model"]["labels"] == ["person"]
