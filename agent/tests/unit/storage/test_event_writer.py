# SPDX-License-Identifier: Apache-2.0
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from helmet_agent.adapters.event_log import EventLog, EventWriter
from helmet_agent.contract import ComplianceEvent
from helmet_agent.errors import StorageError
from helmet_agent.testing import ManualClock

DAY = 86400.0
MakeEvent = Callable[..., ComplianceEvent]


class GatedLog(EventLog):
    """A disk that takes nothing until the gate opens."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, 64 << 10, 1 << 20, retention_days=30)
        self.gate = threading.Event()
        self.reached = threading.Event()

    def append(self, event: ComplianceEvent, snapshot: bytes | None = None) -> ComplianceEvent:
        self.reached.set()
        assert self.gate.wait(20)
        return super().append(event, snapshot)


def ids(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / "events.jsonl").read_bytes().splitlines()]


def opened(folder: Path) -> EventLog:
    return EventLog(folder, 64 << 10, 1 << 20, retention_days=30)


def test_everything_that_was_taken_is_on_disk_after_close(tmp_path: Path, make_event: MakeEvent) -> None:
    writer = EventWriter(opened(tmp_path), ManualClock())
    for number in range(20):
        assert writer.put(make_event(f"v-{number}"), b"jpeg")
    assert writer.close()
    assert writer.close()
    assert ids(tmp_path) == [f"v-{number}" for number in range(20)]
    assert len(list((tmp_path / "snapshots").iterdir())) == 20
    assert writer.written == 20
    assert not writer.put(make_event("late"))
    assert writer.dropped == {"queue_full": 0, "storage": 0, "fault": 0, "closed": 1}


def test_live_it_never_waits_for_the_disk_and_counts_what_it_drops(tmp_path: Path, make_event: MakeEvent) -> None:
    log = GatedLog(tmp_path)
    writer = EventWriter(log, ManualClock(), queue_size=2)
    assert writer.put(make_event("in work"))
    assert log.reached.wait(20)
    assert [writer.put(make_event(f"v-{number}")) for number in range(4)] == [True, True, False, False]
    assert writer.dropped["queue_full"] == 2
    assert not writer.close(timeout_seconds=0.05), "the disk is still stuck"
    log.gate.set()
    assert writer.close()
    assert ids(tmp_path) == ["in work", "v-0", "v-1"]


def test_blocking_it_waits_and_loses_nothing(tmp_path: Path, make_event: MakeEvent) -> None:
    log = GatedLog(tmp_path)
    writer = EventWriter(log, ManualClock(), queue_size=1, blocking=True)
    feeder = threading.Thread(target=lambda: [writer.put(make_event(f"v-{number}")) for number in range(10)])
    feeder.start()
    assert log.reached.wait(20)
    feeder.join(0.1)
    assert feeder.is_alive()
    log.gate.set()
    feeder.join(20)
    assert writer.close()
    assert ids(tmp_path) == [f"v-{number}" for number in range(10)]
    assert not any(writer.dropped.values())


def test_blocking_a_refusing_disk_ends_the_run_with_its_reason(tmp_path: Path, make_event: MakeEvent) -> None:
    log = opened(tmp_path)
    (tmp_path / "events.jsonl").mkdir()
    writer = EventWriter(log, ManualClock(), blocking=True)
    writer.put(make_event("a"))
    with pytest.raises(StorageError, match="a folder is in the way"):
        writer.close()
    with pytest.raises(StorageError, match="a folder is in the way"):
        writer.close()


def test_live_a_refusing_disk_is_counted_reported_and_overcome(tmp_path: Path, make_event: MakeEvent) -> None:
    log = opened(tmp_path)
    (tmp_path / "events.jsonl").mkdir()
    writer = EventWriter(log, ManualClock())
    with writer.subscribe() as listener:
        writer.put(make_event("a"), b"jpeg")
        heard = listener.get(20)
        assert heard is not None
        assert heard.id == "a"
        assert writer.dropped["storage"] == 1
        assert "a folder is in the way" in str(writer.failing)
        (tmp_path / "events.jsonl").rmdir()
        writer.put(make_event("b"))
        assert listener.get(20) is not None
    assert writer.failing is None
    assert writer.close()
    assert ids(tmp_path) == ["b"]


def test_an_event_that_cannot_be_written_down_does_not_end_the_thread(tmp_path: Path, make_event: MakeEvent) -> None:
    writer = EventWriter(opened(tmp_path), ManualClock())
    writer.put(make_event("odd", track=object()))
    writer.put(make_event("sound"))
    assert writer.close()
    assert ids(tmp_path) == ["sound"]
    assert writer.dropped["fault"] == 1


def test_listeners_hear_what_was_written_with_the_snapshots_name(tmp_path: Path, make_event: MakeEvent) -> None:
    writer = EventWriter(opened(tmp_path), ManualClock())
    with writer.subscribe() as one, writer.subscribe() as other:
        writer.put(make_event("v"), b"jpeg")
        for listener in (one, other):
            heard = listener.get(20)
            assert heard is not None
            assert (heard.id, heard.snapshot) == ("v", "v.jpg")
        one.close()
        writer.put(make_event("w"))
        assert other.get(20) is not None
        assert one.get() is None
    writer.close()
    late = writer.subscribe()
    assert late.closed
    assert late.get() is None


def test_a_slow_listener_loses_the_oldest_and_is_told_how_many(tmp_path: Path, make_event: MakeEvent) -> None:
    writer = EventWriter(opened(tmp_path), ManualClock())
    listener = writer.subscribe(size=3)
    for number in range(10):
        writer.put(make_event(f"v-{number}"))
    writer.close()
    assert listener.take_lost() == 7
    assert listener.take_lost() == 0
    heard = [listener.get() for _ in range(4)]
    assert [event and event.id for event in heard] == ["v-7", "v-8", "v-9", None]


def test_old_snapshots_are_swept_at_the_start_and_every_hour(tmp_path: Path, make_event: MakeEvent) -> None:
    clock = ManualClock()
    with_old = opened(tmp_path)
    with_old.append(make_event("ancient", time_seconds=clock.now() - 31 * DAY), b"jpeg")
    with_old.close()
    writer = EventWriter(opened(tmp_path), clock)
    with writer.subscribe() as listener:
        writer.put(make_event("v-1", time_seconds=clock.now()), b"jpeg")
        assert listener.get(20)
        assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["v-1.jpg"]
        clock.advance(31 * DAY)
        writer.put(make_event("v-2", time_seconds=clock.now()), b"jpeg")
        writer.put(make_event("v-3", time_seconds=clock.now()), b"jpeg")
        for _ in range(2):
            assert listener.get(20)
    writer.close()
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == ["v-2.jpg", "v-3.jpg"]
