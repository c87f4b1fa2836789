# SPDX-License-Identifier: Apache-2.0
"""A running agent whose disk, memory and processors are taken away: it goes on, recovers, and blames no model."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest


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
CLIP = resources.files("helmet_agent") / "assets" / "clips" / "one-by-one-person-detection.mp4"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def configure(tmp_path: Path, disk: Path, channel: Any, server: Any) -> Callable[..., Path]:
    def write(extra: str = "", **updates: object) -> Path:
        keys: dict[str, object] = {"probation_seconds": 1, "probation_frames": 5, "poll_seconds": 1} | updates
        path = tmp_path / "agent.toml"
        path.write_text(
            f"[node]\nname = 'n1'\ndata_dir = '{disk / 'data'}'\n[api]\nenabled = false\n"
            "[mining]\nduplicate_distance = 0\n"
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
    configure: Any, start: Start, *, channel: Any, make_model: Any, disk: Path, record_property: Note
) -> None:
    agent = start(configure(max_latency_ratio=20), f"mount -t tmpfs -o size=48m,nr_inodes=900 tmpfs {disk}")
    usual = agent.rate(LOOK_SECONDS)
    rates: list[float] = []
    back: list[float] = []
    for number in range(2 * ROUNDS):
        (agent.take_blocks if number % 2 == 0 else agent.take_inodes)()
        model = make_model(seed=number + 1, release=number + 2)
        channel.publish(model)
        rates.append(agent.rate(LOOK_SECONDS) / usual)
        assert agent.blamed() == []
        kept = agent.examples()
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
