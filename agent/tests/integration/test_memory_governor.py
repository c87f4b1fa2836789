# SPDX-License-Identifier: Apache-2.0
"""The memory reader and the governor in a process that really takes memory, under real limits."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helmet_agent.adapters.memory_reader import MemoryReader
from helmet_agent.adapters.spool import Spool

MIB = 1 << 20
LIMIT = 192 * MIB
GROUPS = Path("/sys/fs/cgroup")

READ_BACK = """
import json, sys
from pathlib import Path
from helmet_agent.adapters.memory_reader import MemoryReader
Path(sys.argv[1], "cgroup.procs").write_text("0")
taken = bytearray(b"x") * (40 << 20)
reading = MemoryReader().read()
print(json.dumps([reading.rss_bytes, reading.group_limit_bytes, reading.groups[0].used_bytes,
                  str(reading.groups[0].path)]))
"""

GROW = """
import hashlib, sys, threading
from pathlib import Path
from helmet_agent.adapters.memory_reader import MemoryReader
from helmet_agent.adapters.spool import Spool
from helmet_agent.contract import ExampleRecord, HardExample
from helmet_agent.services.governor_loop import GovernorLoop
import time

class RealClock:
    now, monotonic, sleep = staticmethod(time.time), staticmethod(time.monotonic), staticmethod(time.sleep)

group, folder, configured = sys.argv[1:]
if group:
    Path(group, "cgroup.procs").write_text("0")
spool = Spool(Path(folder), 64 << 20)
asked, reasons = threading.Event(), []

def stop(reason):
    reasons.append(reason)
    asked.set()

loop = GovernorLoop(
    MemoryReader().read, lambda decision: print(decision.level.name, decision.frame_divisor, flush=True), stop,
    RealClock(), configured_bytes=int(configured) or None, period_seconds=0.01, shed_seconds=0.02)
loop.start()
taken = []
while not asked.wait(0.01):
    taken.append(bytearray(b"x") * (1 << 20))
    if len(taken) % 10 == 0:
        jpeg = b"picture %d" % len(taken)
        sha256 = hashlib.sha256(jpeg).hexdigest()
        spool.put(HardExample(jpeg, ExampleRecord(
            sha256=sha256, node="n", source="s", frame=0, time_seconds=1.0, width=1, height=1, model="a" * 64,
            rule="IBT", value=0.5, detections=())))
        print("put", sha256, flush=True)
loop.close()
spool.close()
print(reasons[0], flush=True)
sys.exit(reasons[0].exit_code)
"""


@pytest.fixture
def limited_group() -> Iterator[Path]:
    """A control group below our own with a memory limit of ``LIMIT``; its members must be gone at the end."""
    own = MemoryReader().read().groups
    parent = own[0].path if own else GROUPS
    group = parent / f"helmet-agent-test-{os.getpid()}"
    try:
        group.mkdir()
        first = next(name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists())
        (group / first).write_text(str(LIMIT))
        with contextlib.suppress(OSError):
            (group / "memory.swap.max").write_text("0")
    except (OSError, StopIteration) as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group with a memory limit can be made here: {error!r}")
    yield group
    for _ in range(100):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            break


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_real_groups_limit_and_usage_are_read_back(limited_group: Path) -> None:
    done = run(READ_BACK, limited_group)
    assert done.returncode == 0, done.stderr
    rss, limit, used, path = json.loads(done.stdout)
    assert limit == LIMIT
    assert path == str(limited_group)
    assert 40 * MIB <= used <= LIMIT
    assert 40 * MIB <= rss <= LIMIT


def check(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    lines = [line for line in done.stdout.splitlines() if "[warning" not in line]
    assert done.returncode == 75, done.stderr
    assert lines[-1].startswith("memory is nearly used up: ")
    order = ["NO_PREVIEW 1", "NO_MINING 1", "FEWER_FRAMES 2", "FEWER_FRAMES 4", "FEWER_FRAMES 8"]
    shed = [line for line in lines[:-1] if not line.startswith("put ")]
    assert shed == order[: len(shed)]
    assert shed, "it left without shedding first"
    spool = Spool(folder, 64 * MIB)
    promised = [line.split()[1] for line in lines if line.startswith("put ")]
    assert promised
    assert set(spool.pending(1000)) == set(promised)
    assert spool.stats().counters["adopted"] == 0
    spool.close()


def test_at_the_configured_limit_it_sheds_and_leaves_with_75(tmp_path: Path) -> None:
    check(run(GROW, "", tmp_path, LIMIT), tmp_path)


def test_at_a_real_groups_limit_it_leaves_before_the_kernel_kills_it(limited_group: Path, tmp_path: Path) -> None:
    check(run(GROW, limited_group, tmp_path, 0), tmp_path)
