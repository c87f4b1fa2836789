# SPDX-License-Identifier: Apache-2.0
"""Everything that the node writes, on a file system that refuses at one place after the other.

``every_write.py FOLDER``: FOLDER is a small tmpfs of this process's own. For each operation the room is cut down to
nothing, then one block or one file more at a time, until the operation succeeds: so every write in it has been the one
that failed. After each refusal what was there before must still be there, nothing half-written may show, and the same
call must work once there is room.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmet_agent.adapters.event_log import EventLog
from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.model_store import ModelStore, files_of
from helmet_agent.adapters.spool import Spool
from helmet_agent.contract import ComplianceEvent, ExampleRecord, HardExample, ModelManifest
from helmet_agent.durable import TEMPORARY_PREFIX, append_durable, create_atomic, make_folder, write_atomic
from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 4096
MOST_STEPS = 600
COARSE = 4
ROOT = Path(sys.argv[1])
FILLER = ROOT / "filler"


class Room:
    """How much the file system has left, in blocks or in files."""

    told = "disk full; free some space"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def leave(self, units: int) -> None:
        self.clear()
        facts = os.statvfs(ROOT)
        if self.kind == "files":
            FILLER.mkdir()
            for number in range(max(0, os.statvfs(ROOT).f_ffree - units)):
                (FILLER / str(number)).touch()
        else:
            take = facts.f_bfree - units
            if take > 0:
                with FILLER.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, take * BLOCK)

    def clear(self) -> None:
        if FILLER.is_dir():
            for path in FILLER.iterdir():
                path.unlink()
            FILLER.rmdir()
        else:
            FILLER.unlink(missing_ok=True)


class ReadOnly:
    """The same file system, remounted; the kernel does it only while nobody has a file open there for writing."""

    kind = "read-only"
    told = "read-only file system"

    def leave(self, units: int) -> None:
        subprocess.run(("mount", "-o", "remount,ro" if units == 0 else "remount,rw", str(ROOT)), check=True)

    def clear(self) -> None:
        self.leave(1)


def example(number: int) -> HardExample:
    jpeg = hashlib.sha256(str(number).encode()).digest() * 400
    record = ExampleRecord(
        sha256=hashlib.sha256(jpeg).hexdigest(),
        node="n",
        source="s",
        frame=number,
        time_seconds=1.0,
        width=1,
        height=1,
        model="a" * 64,
        rule="IBT",
        value=0.5,
        detections=(),
    )
    return HardExample(jpeg, record)


def durable_files() -> tuple[Callable[[int], object], Callable[[], Any]]:
    folder = ROOT / "durable"
    make_folder(folder)

    def write(number: int) -> None:
        write_atomic(folder / "one", b"%08d" % number * 2000)
        create_atomic(folder / f"new-{number}", b"x" * 9000)
        append_durable(folder / "log", b"line %08d\n" % number)
        make_folder(folder / "deep" / str(number))

    def state() -> Any:
        one = folder / "one"
        content = one.read_bytes() if one.exists() else b""
        assert content == content[:8] * (len(content) // 8)
        log = folder / "log"
        lines = log.read_bytes() if log.exists() else b""
        assert not lines or lines.endswith(b"\n")
        assert not list(folder.rglob(f"{TEMPORARY_PREFIX}*"))
        return None

    return write, state


def spool() -> tuple[Callable[[int], object], Callable[[], Any]]:
    kept = Spool(ROOT / "spool", 64 << 20)

    def state() -> Any:
        waiting = sorted(kept.pending(10_000))
        for sha256 in waiting:
            found = kept.open(sha256)
            assert found is not None
            assert found.record.sha256 == sha256
        return waiting

    return lambda number: kept.put(example(number)), state


def index() -> tuple[Callable[[int], object], Callable[[], Any]]:
    """The spool's SQLite file, which grows with each call: what a put adds to it mostly finds room that it has."""
    kept = Spool(ROOT / "index", 64 << 20)
    one = example(0)
    kept.put(one)

    def write(number: int) -> None:
        assert kept.mark_refused(one.record.sha256, "x" * 6000 * number)

    return write, lambda: kept.refused(2)


def journal() -> tuple[Callable[[int], object], Callable[[], Any]]:
    store = ModelStore(ROOT / "journal")

    def write(number: int) -> None:
        store.append({"event": "offered", "number": number, "reason": "x" * 5000})

    return write, lambda: list(store.journal())


def pointers() -> tuple[Callable[[int], object], Callable[[], Any]]:
    store = ModelStore(ROOT / "pointers")

    def write(number: int) -> None:
        key = hashlib.sha256(str(number).encode()).hexdigest()
        store.point(key, key)

    return write, store.pointers


def install() -> tuple[Callable[[int], object], Callable[[], Any]]:
    store = ModelStore(ROOT / "models")
    source = bundled_model_dir()
    manifest = ModelManifest.from_bytes((source / "manifest.json").read_bytes())
    files = {wanted.name: source / wanted.name for wanted in files_of(manifest)}

    def write(number: int) -> None:
        document = json.dumps(manifest.to_json() | {"release": number + 1}).encode()
        store.install(document, ModelManifest.from_bytes(document), files)
        store.clean(())

    def state() -> Any:
        for folder in (ROOT / "models").iterdir():
            if len(folder.name) == 64:
                assert store.damage(folder.name) is None
        return None

    return write, state


def events() -> tuple[Callable[[int], object], Callable[[], Any]]:
    log = EventLog(ROOT / "events", 256 << 10, 1 << 20)

    def write(number: int) -> None:
        log.append(
            ComplianceEvent(
                id=hashlib.sha256(str(number).encode()).hexdigest()[:32],
                kind="violation_started",
                source="s" * (2 * BLOCK),
                label="helmet-off",
                track=1,
                frame=number,
                time_seconds=1.0,
                score=0.5,
                box=(0.0, 0.0, 1.0, 1.0),
            )
        )

    def state() -> Any:
        path = ROOT / "events" / "events.jsonl"
        content = path.read_bytes() if path.exists() else b""
        assert not content or content.endswith(b"\n")
        return [json.loads(line)["frame"] for line in content.splitlines()]

    return write, state


OPERATIONS = (durable_files, spool, index, events, journal, pointers, install)


def main() -> None:
    counts: dict[str, dict[str, int]] = {}
    for make in OPERATIONS:
        write, state = make()
        number = 0
        write(number)
        for room in (Room("blocks"), Room("files"), *([ReadOnly()] if make is durable_files else [])):
            refused, units = 0, 0
            coarse = COARSE if make is install and room.kind == "blocks" else 1
            while units < MOST_STEPS:
                number += 1
                before = state()
                room.leave(units)
                try:
                    write(number)
                except StorageError as error:
                    refused += 1
                    said = str(error)
                    assert room.told in said, (make.__name__, room.kind, units, said)
                    after = state()
                    if before is not None:
                        assert after == before, (make.__name__, room.kind, units, before, after)
                    room.clear()
                    write(number)
                    state()
                else:
                    room.clear()
                    if units:
                        break
                units += coarse
            assert units < MOST_STEPS, (make.__name__, room.kind)
            counts.setdefault(make.__name__, {})[room.kind] = refused
        # Adding a line to a file takes no inode, and a short link no block.
        assert any(counts[make.__name__].values()), make.__name__
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main()
