# SPDX-License-Identifier: Apache-2.0
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.adapters.event_log import EventLog
from helmet_agent.adapters.event_log.snapshots import safe_name
from helmet_agent.contract import ComplianceEvent
from helmet_agent.errors import StorageError

DAY = 86400.0
NOW = 1.8e9
MakeEvent = Callable[..., ComplianceEvent]


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]


def event_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("events*.jsonl"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = EventLog(tmp_path, 64 << 10, 1 << 20, retention_days=30)
    yield opened
    opened.close()


def test_an_event_is_a_line_with_its_snapshot_beside(log: EventLog, tmp_path: Path, make_event: MakeEvent) -> None:
    started = make_event("v-1")
    assert log.append(started, b"jpeg").snapshot == "v-1.jpg"
    ended = log.append(make_event("v-1", kind="violation_ended"))
    assert ended.snapshot is None
    assert [line["kind"] for line in lines(tmp_path)] == ["violation_started", "violation_ended"]
    assert lines(tmp_path)[0]["snapshot"] == "v-1.jpg"
    assert (tmp_path / "snapshots" / "v-1.jpg").read_bytes() == b"jpeg"


def test_a_second_snapshot_of_an_event_gets_a_name_of_its_own(log: EventLog, make_event: MakeEvent) -> None:
    names = [log.append(make_event("v-1"), b"jpeg").snapshot for _ in range(3)]
    assert names == ["v-1.jpg", "v-1-2.jpg", "v-1-3.jpg"]


def test_it_goes_on_where_it_stopped(log: EventLog, tmp_path: Path, make_event: MakeEvent) -> None:
    log.append(make_event("a"))
    log.close()
    again = EventLog(tmp_path, 64 << 10, 1 << 20)
    again.append(make_event("b"))
    assert [line["id"] for line in lines(tmp_path)] == ["a", "b"]
    again.close()


@pytest.mark.parametrize("left", [b'{"id": "ha', b"\0" * 70_000, b"x" * 65_535])
def test_half_a_last_line_is_cut_off_at_the_start(
    log: EventLog, tmp_path: Path, make_event: MakeEvent, left: bytes
) -> None:
    log.append(make_event("a"))
    log.close()
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(left)
    again = EventLog(tmp_path, 1 << 20, 1 << 20)
    again.append(make_event("b"))
    assert [line["id"] for line in lines(tmp_path)] == ["a", "b"]
    again.close()


def test_a_file_that_is_one_half_line_becomes_empty(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"id"')
    EventLog(tmp_path, 64 << 10, 1 << 20).close()
    assert (tmp_path / "events.jsonl").read_bytes() == b""


def test_the_quota_holds_and_the_youngest_lines_stay(tmp_path: Path, make_event: MakeEvent) -> None:
    log = EventLog(tmp_path, 16 << 10, 1 << 20)
    for number in range(150):
        log.append(make_event(f"v-{number}"))
        assert event_bytes(tmp_path) <= 16 << 10
    assert log.rotated_away > 0
    assert event_bytes(tmp_path) >= 8 << 10
    pieces = [*sorted(tmp_path.glob("events-*.jsonl")), tmp_path / "events.jsonl"]
    held = [json.loads(line)["id"] for piece in pieces for line in piece.read_bytes().splitlines()]
    assert held == [f"v-{number}" for number in range(150 - len(held), 150)]
    log.close()


def test_a_smaller_quota_holds_from_the_start_on(log: EventLog, tmp_path: Path, make_event: MakeEvent) -> None:
    for number in range(100):
        log.append(make_event(f"v-{number}"))
    log.close()
    EventLog(tmp_path, 16 << 10, 1 << 20).close()
    assert event_bytes(tmp_path) <= 16 << 10


def test_a_quota_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 16384"):
        EventLog(tmp_path, 1000, 1 << 20)


def test_snapshots_keep_their_own_quota_the_oldest_go(log: EventLog, tmp_path: Path, make_event: MakeEvent) -> None:
    for number in range(8):
        log.append(make_event(f"v-{number}"), b"x" * (200 << 10))
    kept = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert kept == [f"v-{number}.jpg" for number in range(3, 8)]
    assert log.snapshots.evicted == 3
    assert log.append(make_event("huge"), b"x" * (2 << 20)).snapshot is None
    assert log.snapshots.quota_refused == 1
    assert len(lines(tmp_path)) == 9


def test_old_snapshots_go_and_their_lines_stay_also_after_a_restart(
    log: EventLog, tmp_path: Path, make_event: MakeEvent
) -> None:
    log.append(make_event("old", time_seconds=NOW - 31 * DAY), b"jpeg")
    log.append(make_event("young", time_seconds=NOW - 29 * DAY), b"jpeg")
    log.close()
    again = EventLog(tmp_path, 64 << 10, 1 << 20, retention_days=30)
    assert again.sweep(NOW) == 1
    assert again.sweep(NOW) == 0
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["young.jpg"]
    assert [line["id"] for line in lines(tmp_path)] == ["old", "young"]
    again.close()


def test_without_a_retention_period_pictures_stay(tmp_path: Path, make_event: MakeEvent) -> None:
    log = EventLog(tmp_path, 64 << 10, 1 << 20)
    log.append(make_event("old", time_seconds=1.0), b"jpeg")
    assert log.sweep(NOW) == 0
    log.close()


def test_an_event_whose_picture_cannot_be_kept_is_written_all_the_same(
    log: EventLog, tmp_path: Path, make_event: MakeEvent
) -> None:
    (tmp_path / "snapshots").rmdir()
    assert log.append(make_event("v-1"), b"jpeg").snapshot is None
    assert [line["id"] for line in lines(tmp_path)] == ["v-1"]
    assert log.snapshots_failed == 1


def test_a_file_that_cannot_be_written_is_a_storage_error(log: EventLog, tmp_path: Path, make_event: MakeEvent) -> None:
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(StorageError, match="a folder is in the way"):
        log.append(make_event("v-1"))


def test_one_process_at_a_time(log: EventLog, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"in use by another process \\({os.getpid()}\\)"):
        EventLog(tmp_path, 64 << 10, 1 << 20)
    log.close()
    EventLog(tmp_path, 64 << 10, 1 << 20).close()


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=300))
def test_any_event_id_becomes_one_plain_file_name(event_id: str) -> None:
    name = safe_name(event_id)
    assert name
    assert not name.startswith(".")
    assert len(name) <= 140
    assert all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name)


@settings(deadline=None, derandomize=True)
@given(st.text("ab/._é", max_size=6), st.text("ab/._é", max_size=6))
def test_different_event_ids_get_different_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)
