# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from helmet_agent.contract import NodeReport, Quarantined
from helmet_agent.errors import HubUnavailable
from helmet_agent.retry import Backoff
from helmet_agent.services.reporting import ModelNews, NoUpdates, Reporter, report_of
from helmet_agent.status import (
    EventStatus,
    LatencyStatus,
    MemoryStatus,
    ModelStatus,
    NodeSnapshot,
    Problem,
    Severity,
    SourceStatus,
    SpoolStatus,
    UplinkStatus,
)
from helmet_agent.testing import ManualClock, MemoryHub

SNAPSHOT = NodeSnapshot(
    node="n1",
    version="0.1.0",
    started_seconds=1000.0,
    taken_seconds=1100.0,
    frames=500,
    inference=LatencyStatus(500, 5.0, 0.0101, 0.02, 0.03),
    sources=(SourceStatus("gate", True, "streaming"), SourceStatus("yard", True, "waiting")),
    spool=SpoolStatus(examples=7, pending=4, used_bytes=4096, refused=1),
    uplink=UplinkStatus(sent=3),
    events=EventStatus({"violation_started": 2}),
    memory=MemoryStatus(used_bytes=1 << 20),
    model=ModelStatus("m", 3, "a" * 64, swaps=2),
    problems=(Problem(Severity.DEGRADED, "source yard", "waiting"),),
)


@dataclass
class Bench:
    """A reporter that is looked at as often as it asks for."""

    random: float = 0.5
    hub: MemoryHub = field(default_factory=MemoryHub)
    clock: ManualClock = field(default_factory=ManualClock)
    news: ModelNews = field(default_factory=ModelNews)
    snapshot: NodeSnapshot = SNAPSHOT

    def __post_init__(self) -> None:
        self.reporter = Reporter(
            lambda: self.hub,
            lambda: report_of(self.snapshot, None, self.news),
            lambda: self.news,
            self.clock,
            period_seconds=60.0,
            backoff=Backoff(2.0, 300.0, 2.0, lambda: 1.0),
            random=lambda: self.random,
        )

    def run(self, seconds: float) -> list[float]:
        """When reports arrived."""
        times = []
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            before = len(self.hub.reports)
            wait = self.reporter.step()
            times += [self.clock.monotonic()] * (len(self.hub.reports) - before)
            self.clock.advance(wait)
        return times


def test_a_report_goes_at_once_and_then_every_period() -> None:
    assert Bench().run(200) == [0.0, 60.0, 120.0, 180.0]


@pytest.mark.parametrize(("random", "second"), [(0.0, 54.0), (0.999, 66.0)])
def test_the_period_is_jittered_by_a_tenth(random: float, second: float) -> None:
    assert Bench(random).run(70)[1] == second


@pytest.mark.parametrize(
    "change",
    [{"state": "probing"}, {"quarantined": (Quarantined("b" * 64, "NaN"),)}, {"job": "default/x"}, {"ring": "canary"}],
)
def test_a_change_of_the_model_is_told_within_a_second(change: dict[str, object]) -> None:
    bench = Bench()
    bench.run(10)
    changed_at = bench.clock.monotonic()
    bench.news = replace(bench.news, **change)  # type: ignore[arg-type]
    times = bench.run(40)
    assert [at - changed_at <= 1 for at in times] == [True]
    told = bench.hub.reports[-1]
    assert (told.state, told.job, told.ring, told.quarantined) == (
        bench.news.state,
        bench.news.job,
        bench.news.ring,
        bench.news.quarantined,
    )


def test_a_hub_that_is_away_is_asked_ever_less_often_and_told_when_it_is_back() -> None:
    bench = Bench()
    bench.hub.online = False
    assert bench.run(4000) == []
    failures = bench.reporter.status().failures
    assert 12 <= failures <= 24
    assert bench.reporter.status().last_error == "no connection"
    bench.hub.online = True
    assert len(bench.run(301)) >= 1
    assert bench.reporter.status().last_error is None


def test_changes_do_not_hurry_a_hub_that_asked_to_wait() -> None:
    bench = Bench()
    bench.hub.faults.append(HubUnavailable("busy", retry_after_seconds=100.0))
    bench.run(1)
    bench.news = ModelNews("probing")
    assert bench.run(300)[0] >= 100.0


def test_a_denied_token_shows_and_passes() -> None:
    bench = Bench()
    bench.hub.accepts_token = False
    bench.run(100)
    assert bench.reporter.status().denied
    assert bench.reporter.status().failures <= 2
    bench.hub.accepts_token = True
    bench.run(200)
    assert not bench.reporter.status().denied


def test_the_report_says_what_the_snapshot_says_and_reads_back() -> None:
    report = report_of(SNAPSHOT, None, NoUpdates().news())
    assert report is not None
    assert NodeReport.from_json(report.to_json()) == report
    assert (report.node, report.model, report.release, report.state) == ("n1", "a" * 64, 3, "idle")
    assert (report.healthy, report.problems) == (False, ("source yard: waiting",))
    assert report.rates == {
        "frames_per_second": 5.0,
        "inference_ms": 10.1,
        "inference_p99_ms": 20.0,
        "uptime_seconds": 100.0,
        "sources": 2,
        "sources_up": 1,
        "model_swaps": 2,
        "violations": 2,
        "examples_pending": 4,
        "examples_refused": 1,
        "spool_bytes": 4096,
        "examples_sent": 3,
        "memory_bytes": 1 << 20,
    }


def test_frames_per_second_are_those_since_the_last_report() -> None:
    later = replace(SNAPSHOT, frames=620, taken_seconds=1110.0)
    report = report_of(later, SNAPSHOT, ModelNews())
    assert report is not None
    assert report.rates["frames_per_second"] == 12.0


def test_a_clock_that_was_set_back_makes_no_odd_rates() -> None:
    report = report_of(replace(SNAPSHOT, taken_seconds=500.0), SNAPSHOT, ModelNews())
    assert report is not None
    assert NodeReport.from_json(report.to_json()).rates["frames_per_second"] == 0.0


def test_without_a_model_there_is_nothing_to_tell() -> None:
    assert report_of(replace(SNAPSHOT, model=None), None, ModelNews()) is None
