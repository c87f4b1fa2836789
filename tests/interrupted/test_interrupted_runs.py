# SPDX-License-Identifier: Apache-2.0
"""The playbook killed at a random task: the old release serves on, and the next run finishes what was begun.

A node in a folder of this machine, without root and service. ``HELMET_INTERRUPTIONS`` and ``HELMET_SEED`` say how often
and where; every number of tasks is drawn from the seed, so that a failure can be played again.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
INVENTORY = ROOT / "molecule" / "shared" / "local"
INTERRUPTIONS = int(os.environ.get("HELMET_INTERRUPTIONS", "3"))
SEED = int(os.environ.get("HELMET_SEED", "20261"))
RUN_SECONDS = 900

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS * (2 + INTERRUPTIONS))]


def tool(name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wheel(folder: Path, version: str) -> Path:
    """The agent of this checkout under another version."""
    source = folder / f"source-{version}"
    source.mkdir()
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    about, count = re.subn(
        r'^version = "[^"]+"',
        f'version = "{version}"',
        (ROOT / "pyproject.toml").read_text(),
        count=1,
        flags=re.MULTILINE,
    )
    assert count == 1
    (source / "pyproject.toml").write_text(about)
    ignore = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "agent" / "src", source / "agent" / "src", ignore=ignore)
    return Path(json.loads(tool("build_wheel", "--source", str(source), "--into", str(folder / "wheels")))["wheel"])


@dataclass
class Node:
    """A node in a folder, and what is given to every run for it."""

    folder: Path
    wheels: tuple[Path, Path]
    wheelhouse: str
    unsound: list[str] = field(default_factory=list)

    @property
    def current(self) -> Path:
        return self.folder / "opt" / "helmet-agent" / "current"

    def command(self, playbook: str, *more: str, release: int = 0) -> list[str]:
        given = {
            "edge_node_root": str(self.folder),
            "edge_agent_wheel": str(self.wheels[release]),
            "edge_agent_wheelhouse": self.wheelhouse,
        }
        values = ["--extra-vars", json.dumps(given)]
        return [str(BIN / "ansible-playbook"), f"--inventory={INVENTORY}", *values, *more, playbook]

    def play(self, playbook: str, *more: str, release: int = 0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(playbook, *more, release=release),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    def play_until(self, task: int, delay: float, release: int) -> str:
        """Upgrades, and kills everything that belongs to it so many seconds after that task began; tells the task."""
        with subprocess.Popen(
            self.command("playbooks/upgrade-agent.yml", release=release),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            seen, line = 0, ""
            for line in process.stdout or ():
                seen += line.startswith("TASK [")
                if seen == task:
                    time.sleep(delay)
                    break
            # Workers lead sessions of their own: the group of the program alone would leave them.
            main = psutil.Process(process.pid)
            for each in [main, *main.children(recursive=True)]:
                try:
                    each.kill()
                except psutil.NoSuchProcess:
                    continue
            return line.strip()

    def watch(self, stop: threading.Event) -> None:
        """Looks all the time whether ``current`` names a release that was installed whole."""
        while not stop.wait(0.02):
            if not (self.current / ".complete").is_file():
                self.unsound.append(str(self.current.resolve()))

    def version(self) -> str:
        """What serves, after it has tested itself with the node's configuration."""
        program = self.current / "venv" / "bin" / "helmet-agent"
        config = self.folder / "etc" / "helmet-agent" / "agent.toml"
        subprocess.run([program, "self-test", "--config", config], check=True, capture_output=True)
        return self.current.resolve().name.partition("-")[0]


def environment() -> dict[str, str]:
    return os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A node with the first of two releases."""
    folder = tmp_path_factory.mktemp("interrupted")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheelhouse = tool("make_wheelhouse", "--python", python).strip()
    made = Node(folder / "node", (wheel(folder, "9.0.1"), wheel(folder, "9.0.2")), wheelhouse)
    first = made.play("site.yml")
    assert first.returncode == 0, first.stdout[-4000:]
    return made


def test_a_killed_run_leaves_the_old_release_serving_and_the_next_one_finishes(node: Node) -> None:
    listed = node.play("playbooks/upgrade-agent.yml", "--list-tasks").stdout
    tasks = len(re.findall(r"TAGS:", listed.partition("Upgrade the others")[2]))
    chance = random.Random(SEED)  # noqa: S311 - no secret
    serving = 0
    for attempt in range(INTERRUPTIONS):
        target, before = 1 - serving, ("9.0.1", "9.0.2")[serving]
        # What the round before left of it would make the upgrade a mere switch.
        for release in (node.folder / "opt" / "helmet-agent" / "releases").glob(f"9.0.{target + 1}-*"):
            shutil.rmtree(release)
        task, delay = chance.randrange(1, tasks), chance.random()
        stop = threading.Event()
        watcher = threading.Thread(target=node.watch, args=(stop,))
        watcher.start()
        try:
            where = (
                f"attempt {attempt} of seed {SEED}: {node.play_until(task, delay, target)} (task {task}, {delay:.2f} s)"
            )
            assert node.version() in {before, f"9.0.{target + 1}"}, where
            again = node.play("playbooks/upgrade-agent.yml", release=target)
        finally:
            stop.set()
            watcher.join()
        assert again.returncode == 0, where + again.stdout[-4000:]
        assert node.unsound == [], where
        assert node.version() == f"9.0.{target + 1}", where
        third = node.play("playbooks/upgrade-agent.yml", release=target)
        assert re.search(r"changed=0 .*failed=0", third.stdout), where + third.stdout[-4000:]
        serving = target


def test_the_fleet_report_sees_a_changed_file_and_leaves_it(node: Node) -> None:
    release = int(node.version().rpartition(".")[2]) - 1
    strict = ("--extra-vars", "check_fleet_fail_on_drift=true")
    sound = node.play("playbooks/check-fleet.yml", *strict, release=release)
    assert sound.returncode == 0, sound.stdout[-4000:]
    assert "nothing" in sound.stdout
    config = node.folder / "etc" / "helmet-agent" / "agent.toml"
    changed = config.read_text() + "# by hand\n"
    config.write_text(changed)
    drifted = node.play("playbooks/check-fleet.yml", *strict, release=release)
    assert drifted.returncode != 0
    assert "not as the inventory says: node" in drifted.stdout + drifted.stderr
    assert config.read_text() == changed
    other = node.play("playbooks/check-fleet.yml", release=1 - release)
    assert other.returncode == 0, other.stdout[-4000:]
    assert f"release should be 9.0.{2 - release}" in other.stdout


def test_diagnostics_come_to_the_controller_and_none_stay(node: Node, tmp_path: Path) -> None:
    before = sorted(path for path in node.folder.rglob("*") if path.is_file())
    done = node.play("playbooks/collect-diagnostics.yml", "--extra-vars", f"diagnostics_directory={tmp_path}")
    assert done.returncode == 0, done.stdout[-4000:]
    with tarfile.open(tmp_path / "node.tar.gz") as archive:
        assert "helmet-diagnostics/doctor.json" in archive.getnames()
    left = {path for path in node.folder.rglob("*") if path.is_file()} - set(before)
    assert {path for path in left if path.suffix != ".pyc"} == set()
