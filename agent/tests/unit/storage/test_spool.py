# SPDX-License-Identifier: Apache-2.0
import contextlib
import dataclasses
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from helmet_agent.adapters.spool import Spool
from helmet_agent.contract import ContractError, HardExample
from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from helmet_agent.ports import ExampleSink

DAY = 86400.0
MIB = 1 << 20


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def pictures(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("??/*.jpg")}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path, MIB)
    yield opened
    opened.close()


def reopened(spool: Spool, folder: Path, quota_bytes: int = MIB) -> Spool:
    spool.close()
    return Spool(folder, quota_bytes)


def test_an_example_is_kept_once_and_reads_back(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    sink: ExampleSink = spool
    example = make_example(1)
    assert sink.put(example) is True
    assert sink.put(example) is False
    sha256 = example.record.sha256
    assert spool.open(sha256) == example
    assert (tmp_path / sha256[:2] / f"{sha256}.jpg").read_bytes() == example.jpeg
    assert (tmp_path / sha256[:2] / f"{sha256}.json").read_bytes() == example.record.to_bytes()
    assert spool.stats().counters["duplicates"] == 1


def test_it_is_there_after_a_restart_under_the_same_name(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    kept = [make_example(number) for number in range(5)]
    for example in kept:
        spool.put(example)
    again = reopened(spool, tmp_path)
    assert [again.open(example.record.sha256) for example in kept] == kept
    assert again.put(kept[0]) is False
    assert again.stats().counters["adopted"] == 0
    again.close()


def test_a_record_that_could_not_be_read_back_is_refused(
    spool: Spool, make_example: Callable[..., HardExample]
) -> None:
    example = make_example(1)
    broken = dataclasses.replace(example, record=dataclasses.replace(example.record, value=float("nan")))
    with pytest.raises(ContractError, match="value"):
        spool.put(broken)
    assert spool.stats().examples == 0


def test_pending_is_most_valuable_first_and_ends_with_the_upload(
    spool: Spool, make_example: Callable[..., HardExample]
) -> None:
    ordered = [
        make_example(1, rule="lost_track", value=0.1),
        make_example(2, rule="CrossEntropy", value=0.3),
        make_example(3, rule="IBT", value=0.9),
        make_example(4, rule="IBT", value=0.2, time_seconds=1.8e9),
        make_example(5, rule="IBT", value=0.2, time_seconds=1.7e9),
        make_example(6, rule="Random", value=1.0),
    ]
    for example in reversed(ordered):
        spool.put(example)
    digests = [example.record.sha256 for example in ordered]
    assert list(spool.pending(10)) == digests
    assert list(spool.pending(2)) == digests[:2]
    assert spool.mark_uploaded(digests[0])
    assert not spool.mark_uploaded("f" * 64)
    assert list(spool.pending(10)) == digests[1:]
    assert spool.open(digests[0]) == ordered[0], "what is uploaded stays while there is room"
    assert (spool.stats().examples, spool.stats().pending) == (6, 5)


def test_the_quota_counts_everything_and_evicts_the_least_valuable(
    tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    quota = 600 << 10
    spool = Spool(tmp_path, quota)
    values = [(number * 37) % 50 / 50 for number in range(50)]
    for number, value in enumerate(values):
        spool.put(make_example(number, size=20_000, value=value))
        assert disk_bytes(tmp_path) <= quota
        assert spool.stats().used_bytes <= quota
    counters = spool.stats().counters
    kept = sorted(spool.open(sha256).record.value for sha256 in spool.pending(100))  # type: ignore[union-attr]  # just listed
    assert len(kept) > 10
    assert kept == sorted(values)[-len(kept) :]
    assert counters["put"] - counters["evicted"] == len(kept)
    assert counters["evicted"] > 0
    assert counters["quota_refused"] > 0
    assert counters["put"] + counters["quota_refused"] == 50
    assert pictures(tmp_path) == set(spool.pending(100))
    spool.close()


def test_uploaded_examples_go_before_the_worst_pending_one(
    tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    spool = Spool(tmp_path, 600 << 10)
    best = make_example(0, size=300_000, rule="lost_track", value=9.0)
    spool.put(best)
    spool.mark_uploaded(best.record.sha256)
    assert spool.put(make_example(1, size=300_000, rule="Random", value=0.0))
    assert spool.open(best.record.sha256) is None
    assert spool.stats().counters["evicted_uploaded"] == 1
    assert spool.stats().counters["evicted"] == 0
    spool.close()


def test_an_example_larger_than_the_quota_is_refused_and_costs_nothing(
    tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    spool = Spool(tmp_path, 300 << 10)
    small = make_example(1)
    spool.put(small)
    assert spool.put(make_example(2, size=MIB, rule="lost_track", value=9.0)) is False
    assert spool.open(small.record.sha256) == small
    assert spool.stats().counters["quota_refused"] == 1
    spool.close()


def test_a_smaller_quota_takes_effect_at_the_next_start(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    for number in range(30):
        spool.put(make_example(number, size=20_000, value=number / 30))
    smaller = reopened(spool, tmp_path, 400 << 10)
    stats = smaller.stats()
    assert stats.used_bytes <= 400 << 10
    assert 0 < stats.examples < 30
    assert stats.counters["evicted"] == 30 - stats.examples
    assert disk_bytes(tmp_path) <= 400 << 10
    smaller.close()


def test_pictures_expire_with_their_records(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    now = 1.8e9
    old = [make_example(number, time_seconds=now - 31 * DAY) for number in range(3)]
    young = make_example(9, time_seconds=now - 29 * DAY)
    for example in (*old, young):
        spool.put(example)
    spool.mark_uploaded(old[0].record.sha256)
    assert spool.stats().oldest_seconds == now - 31 * DAY
    assert spool.expire(now, 30) == 3
    assert spool.expire(now, 30) == 0
    assert pictures(tmp_path) == {young.record.sha256}
    assert not [path for path in tmp_path.glob("??/*.json") if path.stem != young.record.sha256]
    assert spool.stats().counters["expired"] == 3


def test_files_without_a_row_are_adopted_when_whole_and_removed_otherwise(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    whole, lone_picture, lone_record, forged = (make_example(number) for number in range(4))
    spool.close()

    def lay(example: HardExample, jpeg: bytes | None, record: bytes | None) -> None:
        shard = tmp_path / example.record.sha256[:2]
        shard.mkdir(exist_ok=True)
        if jpeg is not None:
            (shard / f"{example.record.sha256}.jpg").write_bytes(jpeg)
        if record is not None:
            (shard / f"{example.record.sha256}.json").write_bytes(record)

    lay(whole, whole.jpeg, whole.record.to_bytes())
    lay(lone_picture, lone_picture.jpeg, None)
    lay(lone_record, None, lone_record.record.to_bytes())
    lay(forged, b"other pixels", forged.record.to_bytes())
    (tmp_path / whole.record.sha256[:2] / ".tmp-0123").write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"an operator's")

    again = Spool(tmp_path, MIB)
    assert again.open(whole.record.sha256) == whole
    assert again.stats().examples == 1
    assert again.stats().counters["adopted"] == 1
    assert again.stats().counters["removed_incomplete"] == 3
    assert pictures(tmp_path) == {whole.record.sha256}
    assert not list(tmp_path.rglob(".tmp-*"))
    assert (tmp_path / "notes.txt").exists()
    again.close()


def test_rows_without_files_are_dropped_and_counted(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    taken, cut, kept = (make_example(number) for number in range(3))
    for example in (taken, cut, kept):
        spool.put(example)
    spool.close()
    for path in tmp_path.glob(f"??/{taken.record.sha256}.*"):
        path.unlink()
    os.truncate(next(tmp_path.glob(f"??/{cut.record.sha256}.jpg")), 0)
    again = Spool(tmp_path, MIB)
    assert again.stats().counters["missing"] == 1
    assert again.stats().counters["damaged"] == 1
    assert list(again.pending(9)) == [kept.record.sha256]
    assert again.put(taken), "what was lost may come again"
    again.close()


def test_a_damaged_picture_is_noticed_when_it_is_opened(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    example = make_example(1)
    spool.put(example)
    path = next(tmp_path.glob("??/*.jpg"))
    path.write_bytes(b"!" * path.stat().st_size)
    assert spool.open(example.record.sha256) is None
    assert spool.stats().counters["damaged"] == 1
    assert pictures(tmp_path) == set()


@pytest.mark.parametrize("damage", ["garbage", "torn", "foreign", "newer"])
def test_a_damaged_index_is_moved_aside_and_rebuilt_from_the_files(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample], damage: str
) -> None:
    kept = [make_example(number) for number in range(40)]
    for example in kept:
        spool.put(example)
    spool.close()
    path = tmp_path / "index.sqlite"
    if damage == "garbage":
        path.write_bytes(b"no database at all" * 1000)
    elif damage == "torn":
        content = path.read_bytes()
        path.write_bytes(content[:4096] + os.urandom(4096) + content[8192:])
    else:
        path.unlink()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE other (x)")
        connection.execute(f"PRAGMA user_version = {99 if damage == 'newer' else 0}")
        connection.commit()
        connection.close()
    with capture_logs() as logs:
        again = Spool(tmp_path, MIB)
    assert any("rebuilding it from the files" in line["event"] for line in logs)
    assert [again.open(example.record.sha256) for example in kept] == kept
    assert again.stats().counters["adopted"] == 40
    assert (tmp_path / "index.sqlite.damaged").exists()
    sound = reopened(again, tmp_path)
    assert sound.stats().examples == 40
    assert not (tmp_path / "index.sqlite.damaged").exists()
    sound.close()


def test_a_second_owner_is_refused_in_one_line(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="in use by another process") as caught:
        Spool(tmp_path, MIB)
    assert "\n" not in str(caught.value)
    spool.close()
    spool.close()
    Spool(tmp_path, MIB).close()


def test_a_closed_spool_says_so(spool: Spool, make_example: Callable[..., HardExample]) -> None:
    spool.close()
    with pytest.raises(StorageError, match="closed"):
        spool.put(make_example(1))


def test_threads_may_share_it(spool: Spool, make_example: Callable[..., HardExample]) -> None:
    accepted: list[bool] = []

    def work(first: int) -> None:
        for number in range(first, first + 20):
            accepted.append(spool.put(make_example(number)))
            spool.stats()
            for sha256 in spool.pending(1):
                spool.open(sha256)

    threads = [threading.Thread(target=work, args=(10 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spool.stats().examples == sum(accepted) == 50


def test_a_refused_example_is_kept_with_its_reason_and_waits_no_more(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    refused, waiting = make_example(1, value=0.9), make_example(2)
    assert spool.put(refused)
    assert spool.put(waiting)
    assert spool.mark_refused(refused.record.sha256, "answered 400: no picture")
    opened = spool
    for _ in range(2):
        opened = reopened(opened, tmp_path)
        assert opened.pending(9) == (waiting.record.sha256,)
        assert opened.refused(9) == ((refused.record.sha256, "answered 400: no picture"),)
        assert opened.open(refused.record.sha256) == refused
        stats = opened.stats()
        assert (stats.examples, stats.pending, stats.refused) == (2, 1, 1)
    assert opened.mark_uploaded(refused.record.sha256), "somebody brought it to the hub by hand"
    assert (opened.stats().pending, opened.stats().refused) == (1, 0)
    assert not opened.mark_refused(refused.record.sha256, "late"), "what the hub has is not refused"
    assert not opened.mark_refused("0" * 64, "nobody")
    opened.close()


def test_an_index_of_the_first_version_is_taken_over_with_what_it_knew(
    spool: Spool, tmp_path: Path, make_example: Callable[..., HardExample]
) -> None:
    uploaded, waiting = make_example(1), make_example(2)
    assert spool.put(uploaded)
    assert spool.put(waiting)
    assert spool.mark_uploaded(uploaded.record.sha256)
    spool.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "index.sqlite")) as index:
        index.executescript("ALTER TABLE examples DROP COLUMN refused; PRAGMA user_version = 1;")
    again = Spool(tmp_path, MIB)
    assert again.pending(9) == (waiting.record.sha256,)
    assert not any(again.stats().counters.values()), "nothing was rebuilt"
    assert again.mark_refused(waiting.record.sha256, "why")
    again.close()
