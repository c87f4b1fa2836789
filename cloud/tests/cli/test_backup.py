# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import tarfile
import threading
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from helmet_agent.contract import ExampleRecord
from helmet_cloud.backup import backup
from helmet_cloud.backup.layout import SUMMARY
from helmet_cloud.cli import main
from helmet_cloud.examples.housekeeping import DAY_SECONDS
from helmet_cloud.examples.service import HubExamples
from helmet_cloud.settings import HubHome
from helmet_cloud.store.examples import list_examples
from helmet_cloud.store.opening import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from helmet_cloud.store.database import Database

Captured = pytest.CaptureFixture[str]


def body_of(number: int) -> tuple[str, bytes]:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(number).integers(0, 255, (16, 16, 3), np.uint8))[1].tobytes()
    sha256 = hashlib.sha256(jpeg).hexdigest()
    record = ExampleRecord(sha256, "edge-1", "gate", number, 2.0, 16, 16, "0" * 64, "IBT", 0.5, ())
    return sha256, json.dumps(record.to_json()).encode() + b"\n" + jpeg


class RunningHub:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = HubHome.load(folder)
        self.database: Database = open_database(self.home)
        self.examples = HubExamples(self.home, self.database, lambda: 1000.0, reserve_bytes=0)

    def keep(self, numbers: range) -> list[str]:
        pairs = [body_of(number) for number in numbers]
        futures = [self.examples.ingest.submit(*pair, lambda _node: True) for pair in pairs]
        for future in futures:
            future.result(30)
        return [sha256 for sha256, _ in pairs]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    folder = tmp_path / "hub"
    for name, content in {
        "hub.toml": "",
        "kubeconfig": "secret",
        "tokens/admin.token": "secret",
        "keys/targets.pem": "secret",
        "models/abc/model.tflite": "model",
        "channel/metadata/timestamp.json": "{}",
        "offline-keys/root.pem": "root",
        "work/log": "scratch",
        ".lock": "1",
        "models/.tmp-1": "half",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "kubeconfig").chmod(0o600)
    running = RunningHub(folder)
    yield running
    running.examples.close()
    running.database.close()


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def examples_in(folder: Path) -> set[str]:
    database = open_database(HubHome.load(folder))
    with database.read() as session:
        found = {row.sha256 for row in list_examples(session, limit=10_000)}
    database.close()
    return found


def test_a_hub_comes_back_from_its_backup(hub: RunningHub, tmp_path: Path, capsys: Captured) -> None:
    digests = hub.keep(range(5))
    archive, back = tmp_path / "b.tar", tmp_path / "back"
    assert main(["backup", str(hub.folder), str(archive)]) == 0
    assert archive.stat().st_mode & 0o777 == 0o600
    assert main(["restore", str(archive), str(back)]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {archive}: 12 files, ")
    assert files(back) == {
        "hub.toml", "kubeconfig", "tokens/admin.token", "keys/targets.pem", "models/abc/model.tflite",
        "channel/metadata/timestamp.json", "hub.sqlite", *(f"pictures/{one[:2]}/{one}.jpg" for one in digests),
    }  # fmt: skip
    assert (back / "kubeconfig").stat().st_mode & 0o777 == 0o600
    assert back.stat().st_mode & 0o777 == 0o700
    assert examples_in(back) == set(digests)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]


def test_nothing_is_missing_from_a_backup_taken_during_ingest_and_retention(hub: RunningHub, tmp_path: Path) -> None:
    before = hub.keep(range(30))
    stop = threading.Event()
    acknowledged: list[str] = []

    def ingest() -> None:
        for start in range(100, 4000, 10):
            if stop.is_set():
                return
            acknowledged.extend(hub.keep(range(start, start + 10)))

    def forget() -> None:
        while not stop.wait(0.05):
            hub.examples.housekeeping.expire(1000.0 + 1000 * DAY_SECONDS)

    threads = [threading.Thread(target=ingest)]
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            known = [*before, *acknowledged]
            archive, back = tmp_path / f"{number}.tar", tmp_path / f"back-{number}"
            backup(hub.folder, archive, 1.0)
            assert main(["restore", str(archive), str(back)]) == 0
            found = examples_in(back)
            assert set(known) <= found
            assert {f"pictures/{one[:2]}/{one}.jpg" for one in found} <= files(back)
        threads.append(threading.Thread(target=forget))
        threads[-1].start()
        for number in range(3, 6):  # now pictures go while they are read
            archive, back = tmp_path / f"{number}.tar", tmp_path / f"back-{number}"
            backup(hub.folder, archive, 1.0)
            assert main(["restore", str(archive), str(back)]) == 0
            assert {f"pictures/{one[:2]}/{one}.jpg" for one in examples_in(back)} <= files(back)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def damaged(archive: Path, how: Callable[[bytes], bytes]) -> None:
    archive.write_bytes(how(archive.read_bytes()))


@pytest.mark.parametrize(
    "how",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-20_000],
        lambda content: content.replace(b"model\0", b"m0del\0", 1),
        lambda content: content.replace(b"keys/targets.pem", b"keys/targetz.pem"),
        lambda _content: b"",
        lambda _content: b"no archive" * 1000,
    ],
)
def test_a_damaged_backup_is_refused_and_leaves_nothing(
    hub: RunningHub, tmp_path: Path, how: Callable[[bytes], bytes], capsys: Captured
) -> None:
    hub.keep(range(2))
    archive, back = tmp_path / "b.tar", tmp_path / "back"
    backup(hub.folder, archive, 1.0)
    damaged(archive, how)
    assert main(["restore", str(archive), str(back)]) == 1
    err = capsys.readouterr().err
    assert "nothing was restored" in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "hub"]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "link"])
def test_a_member_that_leads_out_is_refused(tmp_path: Path, name: str, capsys: Captured) -> None:
    archive = tmp_path / "b.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo(name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(member)
        tar.addfile(tarfile.TarInfo(SUMMARY))
    assert main(["restore", str(archive), str(tmp_path / "back")]) == 1
    assert "leads out of the folder" in (err := capsys.readouterr().err) or "does not belong" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar"]


def test_what_is_there_is_never_overwritten(hub: RunningHub, tmp_path: Path, capsys: Captured) -> None:
    archive = tmp_path / "b.tar"
    backup(hub.folder, archive, 1.0)
    content = archive.read_bytes()
    for arguments, message in (
        (["restore", str(archive), str(hub.folder)], "is not empty"),
        (["restore", str(archive), str(archive)], "is not empty"),
        (["restore", str(tmp_path / "none"), str(tmp_path / "x")], "no such file"),
        (["backup", str(hub.folder), str(archive)], "is there already"),
        (["backup", str(hub.folder), str(hub.folder / "b.tar")], "lies in the hub's own folder"),
        (["backup", str(tmp_path), str(tmp_path.parent / "c.tar")], "it is no hub's folder"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert archive.read_bytes() == content
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["restore", str(archive), str(empty)]) == 0
    with contextlib.closing(sqlite3.connect(empty / "hub.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_examples_can_be_listed_and_deleted(hub: RunningHub, capsys: Captured) -> None:
    one, two = hub.keep(range(2))
    place = ["--data-dir", str(hub.folder)]
    assert main(["examples", "list", *place]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted([one, two])
    assert "pending" in lines[0]
    assert main(["examples", "delete", one, *place]) == 0
    capsys.readouterr()
    assert main(["examples", "list", "--json", "--state", "pending", *place]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["record"]["sha256"] == two
    assert not hub.examples.pictures.path(one).exists()
    assert main(["examples", "delete", one, *place]) == 1
    assert main(["examples", "list", "--state", "x", *place]) == 2
