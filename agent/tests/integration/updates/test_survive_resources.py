# SPDX-License-Identifier: Apache-2.0
"""A running agent whose disk, memory and processors are taken away: it goes on, recovers, and blames no model."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.adapters.memory_reader import MemoryReader

from .starved import StarvedAgent

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.survive,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount file systems and make control groups"),
]
Note = Callable[[str, object], None]
Start = Callable[..., StarvedAgent]

LONG = bool(os.environ.get("HELMET_SOAK"))
LOOK_SECONDS = 20.0 if LONG else 3.0
ROUNDS = 10 if LONG else 1
DRIP_SECONDS = 0.02
"""Between two pieces of 16 KiB: a model takes a second and a half."""

CLIP = resources.files("helmet_agent") / "assets" / "clips" / "one-by-one-person-detection.mp4"
GROUP_LIMIT = 420 << 20
ORDER = ["no_preview 1", "no_mining 1", "fewer_frames 2", "fewer_frames 4", "fewer_frames 8"]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def configure(tmp_path: Path, disk: Path, channel: Any, server: Any) -> Callable[..., Path]:
    def write(extra: str = "", mining: str = "duplicate_distance = 0", **updates: object) -> Path:
        keys: dict[str, object] = {"probation_seconds": 1, "probation_frames": 5, "poll_seconds": 1} | updates
        path = tmp_path / "agent.toml"
        path.write_text(
            f"[node]\nname = 'n1'\ndata_dir = '{disk / 'data'}'\n[api]\nenabled = false\n"
            f"[mining]\n{mining}\n"
            f"[[sources]]\nname = 'gate'\nurl = '{CLIP}'\nloop = true\nrealtime = true\n{extra}"
            f"[updates]\nenabled = true\nchannel_url = '{server.url}'\nroot_file = '{channel.root_file}'\n"
            "follow = 'default/helmet-detection-demo'\n" + "\n".join(f"{key} = {value}" for key, value in keys.items())
        )
        return path

    return write


@pytest.fixture
def start(disk: Path) -> Iterator[Start]:
    begun: list[StarvedAgent] = []

    def begin(config: Path, mount: str = "true", group: Path | None = None) -> StarvedAgent:
        begun.append(StarvedAgent(config, disk, mount, group))
        begun[-1].until(lambda: len(begun[-1].arrived) > 5)
        return begun[-1]

    yield begin
    for agent in begun:
        agent.process.kill()
        agent.process.wait()


def test_a_disk_without_room_or_inodes_costs_examples_and_no_frame(
    configure: Any, start: Start, *, channel: Any, server: Any, make_model: Any, disk: Path, record_property: Note
) -> None:
    config = configure(mining="duplicate_distance = -1\nper_hour = 36000", max_latency_ratio=20)
    agent = start(config, f"mount -t tmpfs -o size=48m,nr_inodes=900 tmpfs {disk}")
    usual = agent.rate(LOOK_SECONDS)
    rates: list[float] = []
    back: list[float] = []
    for number in range(2 * ROUNDS):
        model = make_model(seed=number + 1, release=number + 2)
        # The disk fills while the model is on its way: all before it could be written, and all after it cannot.
        server.delay_seconds[model.sha256] = DRIP_SECONDS
        channel.publish(model)
        agent.until(lambda sha256=model.sha256: server.sent(sha256) > 0)  # type: ignore[misc]
        (agent.take_blocks if number % 2 == 0 else agent.take_inodes)()
        rates.append(agent.rate(LOOK_SECONDS) / usual)
        agent.until(lambda: agent.faults() > number)  # noqa: B023 - asked in this turn
        assert agent.blamed() == []
        kept = agent.examples()
        server.delay_seconds.clear()
        agent.give_back()
        back.append(agent.until(lambda sha256=model.sha256: agent.confirmed(sha256)))  # type: ignore[misc]
        agent.until(lambda kept=kept: agent.examples() > kept)  # type: ignore[misc]
        assert agent.blamed() == []
    assert min(rates) >= 0.5
    assert agent.said("disk full")
    assert agent.stop() == 0
    figures = f"{min(rates):.0%} of the rate without room and inodes, the next model confirmed {max(back):.0f} s later"
    record_property("survive", f"item 8: {figures}")


def test_a_disk_that_turns_read_only_costs_no_frame_and_nothing_that_was_kept(
    configure: Any, start: Start, *, channel: Any, make_model: Any, disk: Path, tmp_path: Path, record_property: Note
) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    made = shutil.which("mkfs.ext4") and subprocess.run(("mkfs.ext4", "-q", "-F", str(image)), check=False).returncode
    mount = f"mount -o loop {image} {disk}"
    able = subprocess.run(("unshare", "--mount", "sh", "-c", mount), capture_output=True, check=False).returncode
    if made != 0 or able != 0:
        pytest.skip("needs mkfs.ext4 and loop devices")
    config = configure(max_latency_ratio=20)
    agent = start(config, mount)
    agent.until(lambda: agent.examples() > 0)
    usual = agent.rate(LOOK_SECONDS)
    kept = agent.examples() - 1  # one may be on its way in, which nobody was promised
    # What the kernel does itself when an ext4 cannot be written any more.
    abort = ("nsenter", "--target", str(agent.process.pid), "--mount", "mount", "-o", "remount,abort", str(disk))
    subprocess.run(abort, check=True)
    model = make_model(seed=1, release=2)
    channel.publish(model)
    share = agent.rate(LOOK_SECONDS) / usual
    assert share >= 0.5
    agent.until(lambda: agent.said("read-only file system"))
    assert agent.blamed() == []
    agent.stop()
    again = start(config, mount)
    assert again.examples() >= kept
    seconds = again.until(lambda: again.confirmed(model.sha256))
    assert again.blamed() == []
    figures = (
        f"{share:.0%} of the rate on a read-only disk, the next model confirmed {seconds:.0f} s after it was mended"
    )
    record_property("survive", f"item 8: {figures}")


BURN = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"


@contextlib.contextmanager
def crowd() -> Iterator[None]:
    """A process on every processor that wants all of it."""
    hungry = [
        subprocess.Popen((sys.executable, "-c", BURN, str(processor)), stdout=subprocess.PIPE)
        for processor in os.sched_getaffinity(0)
    ]
    try:
        for process in hungry:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in hungry:
            process.kill()
            process.wait()


def test_a_crowd_on_the_processors_slows_no_model_down_that_is_on_probation(
    configure: Any, start: Start, channel: Any, make_model: Any, record_property: Note
) -> None:
    agent = start(configure(probation_seconds=3 * LOOK_SECONDS, probation_frames=20))
    usual = agent.rate(LOOK_SECONDS)
    rates = []
    for number in range(ROUNDS):
        model = make_model(seed=number + 1, release=number + 2)
        channel.publish(model)
        # It is tried at the lowest priority; the crowd comes when it serves, a third of its probation later.
        agent.until(lambda sha256=model.sha256: sha256 in agent.models, 120.0)  # type: ignore[misc]
        time.sleep(LOOK_SECONDS)
        with crowd():
            rates.append(agent.rate(LOOK_SECONDS) / usual)
            agent.until(lambda sha256=model.sha256: agent.confirmed(sha256) or agent.blamed())  # type: ignore[misc]
        assert agent.blamed() == []
    after = agent.rate(LOOK_SECONDS) / usual
    assert min(rates) >= 0.5
    assert after >= 0.9
    record_property(
        "survive",
        f"item 8: {min(rates):.0%} of the rate beside a hungry process on every processor, {after:.0%} after them",
    )


@pytest.fixture
def group() -> Iterator[Path]:
    own = MemoryReader().read().groups
    parent = own[0].path if own else Path("/sys/fs/cgroup")
    folder = parent / f"helmet-survive-{os.getpid()}"
    try:
        folder.mkdir()
        first = next(name for name in ("memory.limit_in_bytes", "memory.max") if (folder / name).exists())
        (folder / first).write_text(str(GROUP_LIMIT))
    except (OSError, StopIteration) as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group with a memory limit can be made here: {error!r}")
    yield folder
    for _ in range(100):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            break


FILL = """
import sys, time
from pathlib import Path
group, share = Path(sys.argv[1]), float(sys.argv[2])
(group / "cgroup.procs").write_text("0")
from helmet_agent.adapters.memory_reader import MemoryReader
taken = []
while True:
    own = MemoryReader().read().groups[0]
    if own.used_bytes < share * own.limit_bytes:
        taken.append(bytearray(b"x") * (1 << 20))
    elif len(taken) > 1 and own.used_bytes > (share + 0.02) * own.limit_bytes:
        taken.pop()
    else:
        time.sleep(0.05)
"""


def test_a_neighbour_that_eats_the_groups_memory_is_answered_in_order_and_outlived(
    configure: Any, start: Start, *, channel: Any, make_model: Any, group: Path, record_property: Note
) -> None:
    extra = "[memory]\ncheck_seconds = 0.2\nshed_seconds = 2.0\nrecover_seconds = 1.0\n"
    agent = start(configure(extra, max_latency_ratio=20), group=group)
    usual = agent.rate(LOOK_SECONDS)
    neighbour = subprocess.Popen((sys.executable, "-c", FILL, str(group), "0.88"))
    try:
        agent.until(agent.steps)
        model = make_model(seed=1, release=2)
        channel.publish(model)
        share = agent.rate(LOOK_SECONDS) / usual
        agent.until(lambda: len(agent.steps()) >= 2)
        agent.until(lambda: agent.said("not enough memory to try a new model"))
        assert agent.blamed() == []
    finally:
        neighbour.kill()
        neighbour.wait()
    assert share >= 0.5
    agent.until(lambda: "normal 1" in agent.steps())
    steps = agent.steps()
    most = max(ORDER.index(step) for step in steps if step in ORDER)
    assert steps == [*ORDER[: most + 1], *ORDER[:most][::-1], "normal 1"], "in order, and back in reverse"
    agent.until(lambda: agent.confirmed(model.sha256))
    assert agent.blamed() == []
    after = agent.rate(LOOK_SECONDS) / usual
    assert after >= 0.9
    record_property(
        "survive", f"item 8: {share:.0%} of the rate while a neighbour took the memory, {after:.0%} after it"
    )
