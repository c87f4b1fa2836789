# SPDX-License-Identifier: Apache-2.0
"""The spool under kill -9, full disks and read-only file systems, all of them real.

Each test runs a child process with this file's ``PRELUDE`` and reads from its output what it was promised.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Self

import pytest

from helmet_agent.adapters.spool import Spool

QUOTA = 64 << 20
PRELUDE = """
import hashlib, os, subprocess, sys
from pathlib import Path
import structlog
from helmet_agent.adapters.spool import Spool
from helmet_agent.contract import ExampleRecord, HardExample
from helmet_agent.errors import StorageError

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

def example(number, size, value=0.5):
    jpeg = f"picture {number}".encode().ljust(size, b".")
    sha256 = hashlib.sha256(jpeg).hexdigest()
    return HardExample(jpeg, ExampleRecord(
        sha256=sha256, node="n", source="s", frame=number, time_seconds=1.7e9 + number, width=64, height=64,
        model="a" * 64, rule="IBT", value=value, detections=()))

def shell(command):
    subprocess.run(command, shell=True, check=True)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def verify(spool, promised):
    assert {path.stem for path in Path(sys.argv[1]).glob("??/*")} == set(spool.pending(100000)), "rows and files differ"
    assert not list(Path(sys.argv[1]).rglob(".tmp-*")), "temporaries left"
    for sha256 in promised:
        assert spool.open(sha256) is not None, f"{sha256} was promised"
"""
IN_NAMESPACE = ["unshare", "--mount", "--map-root-user"] if shutil.which("unshare") else []


def program(body: str) -> list[str]:
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(body)]


def run_in_namespace(body: str, folder: Path) -> list[str]:
    """Runs a child that may mount things nobody else sees; its output lines."""
    if not IN_NAMESPACE or subprocess.run([*IN_NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not permit mount namespaces")
    done = subprocess.run(
        [*IN_NAMESPACE, *program(body), str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class Lives:
    """A process that forks itself once a life, so that a life starts in milliseconds; each life ends by SIGKILL."""

    def __init__(self, folder: Path, quota_bytes: int, example: str, seed: int) -> None:
        body = f"""
            for first in sys.stdin:
                child = os.fork()
                if not child:
                    spool = Spool(Path(sys.argv[1]), {quota_bytes})
                    say("open", os.getpid())
                    for number in range(int(first), 1 << 30):
                        put = {example}
                        if spool.put(put):
                            say(put.record.sha256)
                say("ended", os.waitpid(child, 0)[1])
        """
        self._process = subprocess.Popen(
            [*program(body), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._chance = random.Random(seed)  # noqa: S311 - moments to kill at, no secret
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()

    def one(self) -> list[str]:
        """Lets one life put examples until it is killed; the digests that it acknowledged."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self._count * 1_000_000}\n")
        self._count += 1
        opened, pid = self._process.stdout.readline().split()
        assert opened == "open"
        acknowledged = [self._process.stdout.readline().strip() for _ in range(self._chance.randrange(12))]
        time.sleep(self._chance.random() * 0.02)
        os.kill(int(pid), signal.SIGKILL)
        while len(line := self._process.stdout.readline().strip()) == 64:
            acknowledged.append(line)
        assert line == f"ended {signal.SIGKILL.value}"
        return acknowledged


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, seed: int) -> None:
    promised: list[str] = []
    with Lives(tmp_path, QUOTA, "example(number, 200 + number * 7919 % 90_000)", seed) as lives:
        for _ in range(10):
            promised += lives.one()
            spool = Spool(tmp_path, QUOTA)
            held = set(spool.pending(1_000_000))
            assert all(spool.open(sha256) is not None for sha256 in held)
            assert held >= set(promised)
            assert {path.stem for path in tmp_path.glob("??/*")} == held
            assert not list(tmp_path.rglob(".tmp-*"))
            assert spool.stats().counters["missing"] == 0
            assert spool.stats().counters["damaged"] == 0
            spool.close()
    assert len(promised) > 20
    assert len(set(promised)) == len(promised), "a name was given twice"


def test_kill_9_between_evictions_loses_only_the_least_valuable(tmp_path: Path) -> None:
    promised: list[str] = []
    # Ever more valuable, so that each one evicts the oldest ones.
    with Lives(tmp_path, 500 << 10, "example(number, 40_000 + number * 7919 % 40_000, number)", 3) as lives:
        for life in range(10):
            promised += lives.one()
            spool = Spool(tmp_path, 500 << 10)
            newest_first = spool.pending(1000)
            kept = [sha256 for sha256 in newest_first if sha256 in set(promised)]
            assert kept == promised[-len(kept) :][::-1], "a gap in what was kept"
            assert len(newest_first) - len(kept) <= life + 1, "at most one unacknowledged example a life"
            assert spool.stats().used_bytes <= 500 << 10
            assert all(spool.open(sha256) is not None for sha256 in newest_first)
            assert {path.stem for path in tmp_path.glob("??/*")} == set(newest_first)
            spool.close()
    assert len(promised) > 20


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    lines = run_in_namespace(
        """
        folder = Path(sys.argv[1])
        shell(f"mount -t tmpfs -o size=2m tmpfs {folder}")
        promised = [example(1, 9000).record.sha256]
        # Every count of free blocks makes another step fail: either file, the shard's folder, SQLite's log.
        for blocks in range(12):
            sys.argv[1] = str(folder / str(blocks))
            spool = Spool(Path(sys.argv[1]), 64 << 20)
            assert spool.put(example(1, 9000))
            free = os.statvfs(folder).f_bfree
            filler = folder / "filler"
            filler.write_bytes(b"x" * 4096 * (free - blocks))
            assert os.statvfs(folder).f_bfree == blocks
            try:
                assert spool.put(example(2, 9000))
                say("kept")
                promised.append(example(2, 9000).record.sha256)
            except StorageError as error:
                say(error)
                assert spool.stats().counters["failed"] == 1
            verify(spool, promised)
            filler.unlink()
            assert spool.put(example(3, 9000)), "it works again when there is room"
            spool.close()
            spool = Spool(Path(sys.argv[1]), 64 << 20)
            verify(spool, [*promised, example(3, 9000).record.sha256])
            assert not any(spool.stats().counters.values())
            spool.close()
            del promised[1:]
        """,
        tmp_path,
    )
    refused = [line for line in lines if line != "kept"]
    assert "kept" in lines
    assert any("index.sqlite" in line for line in refused)
    assert any(".jpg" in line for line in refused)
    assert any(".json" in line for line in refused)
    assert all(line.startswith("cannot ") and "disk full; free some space" in line for line in refused), refused


def test_a_disk_that_is_full_at_the_start_is_one_clear_line(tmp_path: Path) -> None:
    (line,) = run_in_namespace(
        """
        shell(f"mount -t tmpfs -o size=64k tmpfs {sys.argv[1]}")
        Path(sys.argv[1], "filler").write_bytes(b"x" * 60 * 1024)
        try:
            Spool(Path(sys.argv[1]), 64 << 20)
        except StorageError as error:
            say(error)
        """,
        tmp_path,
    )
    assert "disk full; free some space" in line


def test_a_read_only_folder_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    (line,) = run_in_namespace(
        """
        folder = Path(sys.argv[1])
        spool = Spool(folder, 64 << 20)
        promised = [example(number, 9000).record.sha256 for number in range(3) if spool.put(example(number, 9000))]
        spool.close()
        shell(f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}")
        try:
            Spool(folder, 64 << 20)
        except StorageError as error:
            say(error)
        shell(f"umount {folder}")
        spool = Spool(folder, 64 << 20)
        assert len(promised) == 3
        verify(spool, promised)
        """,
        tmp_path,
    )
    assert str(tmp_path) in line
    assert "read-only file system; mount it read-write or name another folder" in line


def test_a_folder_that_turns_read_only_while_in_use_loses_nothing(tmp_path: Path) -> None:
    lines = run_in_namespace(
        """
        folder = Path(sys.argv[1])
        spool = Spool(folder, 64 << 20)
        promised = [example(number, 9000).record.sha256 for number in range(3) if spool.put(example(number, 9000))]
        # The second mount covers the first: every path leads to it, the open database does not.
        shell(f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}")
        for attempt in (lambda: spool.put(example(9, 9000)), lambda: spool.expire(2e9, 1)):
            verify(spool, promised)
            try:
                attempt()
            except StorageError as error:
                say(error)
        assert list(folder.glob("??/*"))
        shell(f"umount {folder}")
        spool.expire(2e9, 1)
        assert not list(folder.glob("??/*")), "expired pictures are still there"
        assert spool.put(example(9, 9000))
        verify(spool, [example(9, 9000).record.sha256])
        """,
        tmp_path,
    )
    assert len(lines) == 2
    assert all("read-only file system; mount it read-write" in line for line in lines)


def test_a_file_size_limit_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *program(
                """
                import resource
                spool = Spool(Path(sys.argv[1]), 64 << 20)
                resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
                assert spool.put(example(1, 9000))
                try:
                    spool.put(example(2, 400_000))
                except StorageError as error:
                    say(error)
                assert spool.put(example(3, 9000))
                verify(spool, [example(1, 9000).record.sha256, example(3, 9000).record.sha256])
                """
            ),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "beyond the size limit; raise the process's file size limit" in done.stdout
