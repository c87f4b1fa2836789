# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from helmet_cloud.examples.housekeeping import DAY_SECONDS, GRACE_SECONDS, Housekeeping
from helmet_cloud.store.examples import known_examples, use_examples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Any]


def known(hub: Any, *digests: str) -> set[str]:
    with hub.database.read() as session:
        return set(known_examples(session, digests))


def on_disk(hub: Any) -> set[str]:
    return {path.stem for path in hub.home.pictures.rglob("*.jpg")}


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_pictures_that_no_data_set_uses_go_after_so_many_days_and_others_stay(open_hub: Make, make_jpeg: Make) -> None:
    hub = open_hub(retention_days=30)
    old, used = hub.keep(make_jpeg(1), make_jpeg(2))
    with hub.database.write() as session:
        use_examples(session, "default", "site", [(used, f"examples/{used}.jpg", {})], hub.now)
    start = hub.now
    hub.now += DAY_SECONDS
    (young,) = hub.keep(make_jpeg(3))
    housekeeping = hub.examples.housekeeping
    assert housekeeping.expire(start + 30 * DAY_SECONDS) == 0
    assert on_disk(hub) == {old, used, young}
    assert housekeeping.expire(start + 30 * DAY_SECONDS + 1) == 1
    assert on_disk(hub) == known(hub, old, used, young) == {used, young}
    assert housekeeping.expire(start + 10_000 * DAY_SECONDS) == 1
    assert on_disk(hub) == {used}


def test_more_than_one_page_expires(open_hub: Make, make_jpeg: Make) -> None:
    hub = open_hub(retention_days=1)
    hub.keep(*(make_jpeg(number, 16, 16) for number in range(210)), width=16, height=16)
    assert hub.examples.housekeeping.expire(hub.now + 2 * DAY_SECONDS) == 210
    assert on_disk(hub) == set()


def test_what_a_crash_left_is_removed_once_it_is_old_enough(hub: Any, make_jpeg: Make) -> None:
    (kept,) = hub.keep(make_jpeg(1))
    path = hub.examples.pictures.path(kept)
    orphan = path.with_name(f"{kept[:2]}{'0' * 62}.jpg")
    half = path.with_name(".tmp-0123")
    stranger = path.with_name("notes.txt")
    for one in (orphan, half, stranger):
        one.write_bytes(b"x")
    heal = hub.examples.housekeeping.heal
    assert heal() == {"temporaries": 0, "orphans": 0, "rows": 0}  # they may belong to an upload under way
    for one in (path, orphan, half, stranger):
        age(one, GRACE_SECONDS + 10)
    assert heal() == {"temporaries": 1, "orphans": 1, "rows": 0}
    assert sorted(path.parent.iterdir()) == sorted([path, stranger])


def test_rows_whose_picture_somebody_took_away_are_dropped_unless_a_data_set_uses_them(
    hub: Any, make_jpeg: Make
) -> None:
    gone, used, kept = hub.keep(make_jpeg(1), make_jpeg(2), make_jpeg(3))
    with hub.database.write() as session:
        use_examples(session, "default", "site", [(used, "x.jpg", {})], hub.now)
    for one in (gone, used):
        hub.examples.pictures.path(one).unlink()
    assert hub.examples.housekeeping.heal()["rows"] == 1
    assert known(hub, gone, used, kept) == {used, kept}


class InterruptedDatabase:
    """A database in which something happens before its second transaction."""

    def __init__(self, database: Any, happens: Callable[[], object]) -> None:
        self._database = database
        self._happens = happens
        self._writes = 0
        self.read = database.read

    def write(self) -> Any:
        self._writes += 1
        if self._writes == 2:
            self._happens()
        return self._database.write()


def test_a_picture_that_comes_again_in_the_midst_of_its_deletion_stays(open_hub: Make, make_jpeg: Make) -> None:
    hub = open_hub(retention_days=1)
    (one,) = hub.keep(make_jpeg(1))
    database = InterruptedDatabase(hub.database, lambda: hub.keep(make_jpeg(1)))
    housekeeping = Housekeeping(database, hub.examples.pictures, 1.0)  # type: ignore[arg-type] # has all it needs
    housekeeping.delete(one)
    assert known(hub, one) == on_disk(hub) == {one}


def test_nothing_acknowledged_is_lost_while_pictures_go_and_come_again(open_hub: Make, make_jpeg: Make) -> None:
    hub = open_hub(retention_days=1)
    jpegs = [make_jpeg(number, 16, 16) for number in range(20)]
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            hub.examples.housekeeping.expire(hub.now + 2 * DAY_SECONDS)
            hub.examples.housekeeping.heal()

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        for _ in range(6):
            hub.keep(*jpegs, width=16, height=16)
    finally:
        stop.set()
        thread.join()
    digests = hub.keep(*jpegs, width=16, height=16)
    assert known(hub, *digests) == on_disk(hub) == set(digests)


def test_a_kill_at_any_moment_leaves_every_acknowledged_example_whole(
    tmp_path: Path, make_jpeg: Make, make_body: Make, open_hub: Make
) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    bodies = tmp_path / "bodies"
    bodies.mkdir()
    for number in range(60):
        jpeg = make_jpeg(number)
        (bodies / f"{number:03d}").write_bytes(make_body(jpeg))
    program = """
import hashlib, os, pathlib, sys
from helmet_cloud.examples.service import HubExamples
from helmet_cloud.settings import HubHome
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
home = HubHome(pathlib.Path(sys.argv[1]))
database = Database(home.database)
Base.metadata.create_all(database.engine)
examples = HubExamples(home, database)
for path in sorted(pathlib.Path(sys.argv[2]).iterdir()):
    body = path.read_bytes()
    sha256 = hashlib.sha256(body[body.index(b"\\n") + 1:]).hexdigest()
    done = examples.ingest.submit(sha256, body, lambda node: True)
    done.add_done_callback(lambda future, sha256=sha256: os.write(1, sha256.encode() + b"\\n"))
    if path.name.endswith("5"):
        done.result()
"""
    acknowledged: set[str] = set()
    for lines in (1, 20, 45):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(folder), str(bodies)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(lines):
                acknowledged.add(process.stdout.readline().strip())
            process.kill()
            acknowledged.update(line.strip() for line in process.stdout if len(line) == 65)
        hub = open_hub(folder)
        assert known(hub, *acknowledged) == acknowledged
        assert acknowledged <= on_disk(hub)
        for sha256 in acknowledged:
            assert hashlib.sha256(hub.examples.pictures.path(sha256).read_bytes()).hexdigest() == sha256
        for path in hub.home.pictures.rglob("*"):
            if path.is_file():
                age(path, GRACE_SECONDS + 10)
        hub.examples.housekeeping.heal()
        assert on_disk(hub) == known(hub, *on_disk(hub))
        assert not list(hub.home.pictures.rglob(".tmp-*"))
