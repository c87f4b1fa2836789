# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every line of the updater's journal and at every move of its pointers: the next start repairs it."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.adapters.model_store import ModelStore
from helmet_agent.contract import Delivery
from helmet_agent.services.update_journal import replay
from helmet_agent.services.update_state import Phase, UpdateState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
LIVES = Path(__file__).with_name("lives.py")


@dataclass
class Life:
    """What one life told: the points that it passed, what it served, and how it ended."""

    points: list[str]
    serves: str | None
    killed: bool


class Lives:
    """Starts lives of one node, each in milliseconds."""

    def __init__(self, config: Path, channel: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(LIVES), str(config), str(channel)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.folder = Path()

    def one(self, crash_at: int | None = None, **job: Any) -> Life:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": [], **job, "crash_at": crash_at}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(self._process.communicate()[1])
        told = json.loads(line)
        self.folder = Path(told["folder"])
        if told["status"] not in (0, signal.SIGKILL):
            self._process.stdin.close()
            raise AssertionError(self._process.communicate()[1])
        lines = told["told"]
        serves = next((text.split()[1] for text in lines if text.startswith("serves ")), None)
        points = [text for text in lines if not text.startswith("serves ")]
        return Life(points, serves, told["status"] == signal.SIGKILL)

    def state(self) -> UpdateState:
        state = replay(ModelStore(self.folder, read_only=True).journal())
        assert state is not None
        return state

    def check(self, serves: str | None) -> UpdateState:
        """What holds after every start."""
        store, state = ModelStore(self.folder, read_only=True), self.state()
        assert store.pointers() == (state.current.key, state.last_confirmed.key)
        assert store.damage(state.current.key) is None
        assert store.damage(state.last_confirmed.key) is None
        assert not [path for path in self.folder.iterdir() if path.name.startswith(".tmp-")]
        assert serves is not None
        assert store.damage(serves) is None
        return state

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def lives(write_config: Any, channel: Any) -> Iterator[Lives]:
    found = Lives(write_config(probation_seconds=0, probation_frames=1), channel.folder)
    yield found
    found.close()


def settled(state: UpdateState) -> UpdateState:
    """A state without what a crash may leave behind: counts and times."""
    return replace(state, crashes=(), quarantined=tuple(replace(one, time_seconds=0.0) for one in state.quarantined))


SCENARIOS: dict[str, dict[str, Any]] = {
    "confirmed": {"do": ["update"]},
    "refused by the probe": {"do": ["update"], "problems": ["outputs are NaN"]},
    "fails on probation": {"do": ["update"], "failures": 1},
    "left with a goodbye": {"do": ["update"], "goodbye": True},
    "cold": {"do": ["update"], "cold": True},
    "rolled back": {"do": ["update"], "then": ["rollback"]},
}


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_kill_9_at_every_point_ends_where_no_crash_ends(
    name: str, lives: Lives, channel: Any, make_model: Callable[..., Any]
) -> None:
    scenario = dict(SCENARIOS[name])
    cold, goodbye, then = scenario.pop("cold", False), scenario.pop("goodbye", False), scenario.pop("then", None)
    first = lives.one()
    base = lives.check(first.serves).current
    model = make_model(seed=1, release=2, delivery=Delivery(hot_update=not cold, poll_seconds=1))
    channel.publish(model)
    if then is not None:
        lives.one(**scenario)
        scenario = {"do": then, "leaving": model.key}
    if goodbye:
        scenario["do"] = ["update", "goodbye"]
    before = lives.folder.with_name("before")
    shutil.copytree(lives.folder, before, symlinks=True)
    whole = lives.one(**scenario)
    wanted = lives.state()
    assert not whole.killed
    assert len(whole.points) >= 3
    for number in range(len(whole.points)):
        shutil.rmtree(lives.folder)
        shutil.copytree(before, lives.folder, symlinks=True)
        killed = lives.one(crash_at=number, **scenario)
        assert killed.killed
        was = lives.state()
        again = lives.one()
        state = lives.check(again.serves)
        if was.phase is Phase.LIVE:
            assert again.serves == was.last_confirmed.key, f"after a crash at {whole.points[number]}"
        elif was.phase is not Phase.WAITING:
            assert again.serves in (was.current.key, base.key)
        assert not any(one.model == state.current for one in state.quarantined)
        # A cold model that waited was taken by the start in between, which ended without a goodbye.
        lives.one(**scenario)
        assert settled(lives.state()) == settled(wanted), f"after a crash at {whole.points[number]}"


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_9_at_any_moment_leaves_a_node_that_serves(
    seed: int, lives: Lives, channel: Any, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    chance = random.Random(seed)  # noqa: S311 - moments to kill at, no secret
    lives.one()
    for release in range(2, 8):
        model = make_model(seed=release, release=release)
        channel.publish(model)
        process = subprocess.Popen(
            [sys.executable, str(LIVES), str(tmp_path / "agent.toml"), str(channel.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            process_group=0,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"do": ["update"], "crash_at": None}) + "\n")
        process.stdin.flush()
        time.sleep(0.5 + chance.random())
        subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=False)
        process.wait()
        lives.check(lives.one().serves)
    final = lives.one(do=["update"])
    assert not final.killed
    assert lives.check(lives.one().serves).current.release == 7
