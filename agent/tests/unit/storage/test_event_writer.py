# SPDX-License-Identifier: Apache-2.0
import json
import queue
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


class Listener:
    """Hears events on the writer's thread and hands them over here."""

    def __init__(self, writer: EventWriter) -> None:
        self._heard: queue.Queue[ComplianceEvent] = queue.Queue()
        writer.add_listener(self._heard.put)

    def get(self) -> ComplianceEvent:
        return self._heard.get(timeout=20)


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
        assert writer.put(make_event(f"v-{number}"), lambda: b"jpeg")
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
    listener = Listener(writer)
    writer.put(make_event("a"), lambda: b"jpeg")
    assert listener.get().id == "a"
    assert writer.dropped["storage"] == 1
    assert "a folder is in the way" in str(writer.failing)
    (tmp_path / "events.jsonl").rmdir()
    writer.put(make_event("b"))
    assert listener.get().id == "b"
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
    one, other = Listener(writer), Listener(writer)
    writer.put(make_event("v"), lambda: b"jpeg")
    for listener in (one, other):
        heard = listener.get()
        assert (heard.id, heard.snapshot) == ("v", "v.jpg")
    writer.close()


def test_a_listener_that_fails_costs_nobody_else_an_event(tmp_path: Path, make_event: MakeEvent) -> None:
    def failing(_: ComplianceEvent) -> None:
        raise RuntimeError("gone")

    writer = EventWriter(opened(tmp_path), ManualClock())
    writer.add_listener(failing)
    listener = Listener(writer)
    writer.put(make_event("v"))
    assert listener.get().id == "v"
    assert writer.close()
    assert ids(tmp_path) == ["v"]


def test_the_picture_is_made_on_the_writers_thread(tmp_path: Path, make_event: MakeEvent) -> None:
    made: list[str] = []

    def picture() -> bytes | None:
        made.append(threading.current_thread().name)
        return None

    writer = EventWriter(opened(tmp_path), ManualClock())
    writer.put(make_event("v"), picture)
    assert writer.close()
    assert made == ["events"]
    assert list((tmp_path / "snapshots").iterdir()) == []


def test_old_snapshots_are_swept_at_the_start_and_every_hour(tmp_path: Path, make_event: MakeEvent) -> None:
    clock = ManualClock()
    with_old = opened(tmp_path)
    with_old.append(make_event("ancient", time_seconds=clock.now() - 31 * DAY), b"jpeg")
    with_old.close()
    writer = EventWriter(opened(tmp_path), clock)
    listener = Listener(writer)
    writer.put(make_event("v-1", time_seconds=clock.now()), lambda: b"jpeg")
    assert listener.get()
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["v-1.jpg"]
    clock.advance(31 * DAY)
    writer.put(make_event("v-2", time_seconds=clock.now()), lambda: b"jpeg")
    writer.put(make_event("v-3", time_seconds=clock.now()), lambda: b"jpeg")
    for _ in range(2):
        assert listener.get()
    writer.close()
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == ["v-2.jpg", "v-3.jpg"]
