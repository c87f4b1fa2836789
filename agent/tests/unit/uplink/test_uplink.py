# SPDX-License-Identifier: Apache-2.0
"""The uplink's decisions, over the hub that ships as a fake."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field

import structlog

from helmet_agent.app.snapshot import OFFLINE_SECONDS, hub_problems
from helmet_agent.contract import ExampleRecord, HardExample
from helmet_agent.errors import AgentError, HubDenied, HubRefused, HubUnavailable, StorageError
from helmet_agent.retry import Backoff
from helmet_agent.services.bandwidth import TokenBucket
from helmet_agent.services.uplink import MOST_PUT_OFF, SUSPECT_SECONDS, Uplink
from helmet_agent.status import ReportStatus, Severity, UplinkStatus
from helmet_agent.testing import ManualClock, MemoryHub


def example(number: int, node: str = "n1") -> HardExample:
    jpeg = f"picture {number}".encode()
    record = ExampleRecord(
        sha256=hashlib.sha256(jpeg).hexdigest(),
        node=node,
        source="gate",
        frame=number,
        time_seconds=1.7e9,
        width=64,
        height=36,
        model="0" * 64,
        rule="IBT",
        value=0.5,
        detections=(),
    )
    return HardExample(jpeg, record)


@dataclass
class FakeSpool:
    """Implements ``WaitingExamples``; its disk refuses to note what was uploaded while ``full``."""

    waiting: dict[str, HardExample] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    uploaded: list[str] = field(default_factory=list)
    full: bool = False
    most_asked: int = 0

    def add(self, *numbers: int) -> list[str]:
        added = [example(number) for number in numbers]
        self.waiting |= {each.record.sha256: each for each in added}
        return [each.record.sha256 for each in added]

    def pending(self, limit: int) -> tuple[str, ...]:
        self.most_asked = max(self.most_asked, limit)
        return tuple(self.waiting)[:limit]

    def open(self, sha256: str) -> HardExample | None:
        return self.waiting.get(sha256)

    def mark_uploaded(self, sha256: str) -> bool:
        if self.full:
            raise StorageError("cannot use the index: disk full")
        self.uploaded.append(sha256)
        return self.waiting.pop(sha256, None) is not None

    def mark_refused(self, sha256: str, reason: str) -> bool:
        self.refused[sha256] = reason
        return self.waiting.pop(sha256, None) is not None


@dataclass
class Bench:
    spool: FakeSpool = field(default_factory=FakeSpool)
    hub: MemoryHub = field(default_factory=MemoryHub)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.uplink = Uplink(
            "n1",
            self.spool,
            lambda: self.hub,
            self.clock,
            backoff=Backoff(2.0, 300.0, 2.0, lambda: 1.0),
            bucket=TokenBucket(0, self.clock),
            random=lambda: 1.0,
        )

    def steps(self, count: int) -> list[float]:
        waits = []
        for _ in range(count):
            waits.append(self.uplink.step())
            self.clock.advance(waits[-1])
        return waits


def test_an_example_that_arrived_but_could_not_be_noted_is_not_sent_again() -> None:
    bench = Bench()
    (sha256,) = bench.spool.add(1)
    bench.spool.full = True
    bench.steps(5)
    assert "disk full" in (bench.uplink.status().last_error or "")
    bench.spool.full = False
    bench.steps(2)
    assert bench.hub.puts == [sha256]
    assert bench.spool.uploaded == [sha256]


def test_the_waits_grow_while_the_hub_is_away_and_begin_anew_when_it_was_there() -> None:
    bench = Bench()
    bench.spool.add(1, 2)
    bench.hub.online = False
    assert bench.steps(9) == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    bench.hub.online = True
    bench.steps(1)
    bench.hub.online = False
    assert bench.steps(1) == [2]


def test_a_hub_that_asks_to_wait_is_left_alone_for_so_long_but_not_for_ever() -> None:
    bench = Bench()
    bench.spool.add(1)
    bench.hub.faults.extend(
        HubUnavailable("busy", retry_after_seconds=seconds) for seconds in (40.0, 0.0, 10.0**9, 500.0)
    )
    waits = bench.steps(4)
    assert waits == [50.0, 4.0, 3600.0, 625.0]


def test_what_is_put_off_stays_bounded_and_is_not_sent_over_and_over() -> None:
    bench = Bench()
    more = 20
    bench.spool.add(*range(MOST_PUT_OFF + more))
    bench.hub.faults.extend(HubRefused("too large", for_good=False) for _ in range(MOST_PUT_OFF + more))
    with structlog.testing.capture_logs() as logs:
        waits = [bench.uplink.step() for _ in range(MOST_PUT_OFF + more)]
    assert len(logs) == MOST_PUT_OFF + more
    assert bench.uplink.status().put_off <= MOST_PUT_OFF
    assert bench.spool.most_asked <= MOST_PUT_OFF + 1
    assert waits == [0.0] * MOST_PUT_OFF + [SUSPECT_SECONDS] * more
    while bench.spool.waiting and bench.clock.monotonic() < 2 * 3600:
        bench.steps(1)
    assert not bench.spool.waiting


def test_an_example_that_was_evicted_meanwhile_is_passed_over() -> None:
    bench = Bench()
    first, second = bench.spool.add(1, 2)
    gone = bench.spool.waiting[first]
    bench.spool.waiting[first] = None  # type: ignore[assignment]
    assert gone is not None
    assert bench.uplink.step() == 0.0
    del bench.spool.waiting[first]
    bench.steps(1)
    assert bench.hub.puts == [second]


def test_what_a_renamed_node_saw_under_its_old_name_does_not_stop_the_rest() -> None:
    bench = Bench()
    old = example(1, node="old-name")
    bench.spool.waiting[old.record.sha256] = old
    (mine,) = bench.spool.add(2)
    bench.hub.faults.append(HubDenied("answered 403", known=True))
    bench.steps(2)
    assert bench.spool.refused == {old.record.sha256: "seen by old-name, which this node is not: answered 403"}
    assert bench.hub.puts == [mine]
    bench.spool.waiting[old.record.sha256] = old
    bench.hub.faults.append(HubDenied("answered 401"))
    bench.steps(1)
    assert bench.uplink.status().state == "denied", "a token that nobody knows is no matter of one example"


def test_an_unexpected_fault_does_not_end_the_thread() -> None:
    bench = Bench()
    bench.spool.add(1)
    bench.hub.faults.append(AgentError("nobody thought of this"))
    uplink = Uplink(
        "n1",
        bench.spool,
        lambda: bench.hub,
        bench.clock,
        backoff=Backoff(0.01, 0.01, 1.0, lambda: 1.0),
        bucket=TokenBucket(0, bench.clock),
        random=lambda: 1.0,
    )
    uplink.start()
    deadline = time.monotonic() + 20
    while bench.spool.waiting and time.monotonic() < deadline:
        time.sleep(0.01)
    uplink.close(10)
    assert len(bench.hub.examples) == 1
    assert uplink.status().failures == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "uplink" and thread.is_alive()]


def test_a_denied_token_is_degraded_health_at_once_and_a_hub_away_after_a_while() -> None:
    denied = UplinkStatus(state="denied", last_error="answered 401")
    (problem,) = hub_problems(denied, None, 1000.0)
    assert (problem.severity, problem.part, problem.reason) == (Severity.DEGRADED, "hub", "answered 401")
    (problem,) = hub_problems(UplinkStatus(), ReportStatus(denied=True, last_error="answered 403"), 1000.0)
    assert problem.reason == "answered 403"
    away = UplinkStatus(state="waiting", offline_since_seconds=1000.0, last_error="no connection")
    assert not list(hub_problems(away, None, 1000.0 + OFFLINE_SECONDS - 1))
    (problem,) = hub_problems(away, None, 1000.0 + OFFLINE_SECONDS)
    assert problem.reason == "no example could be sent for 10 min: no connection"
    assert not list(hub_problems(None, None, 1000.0))
