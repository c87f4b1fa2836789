# SPDX-License-Identifier: Apache-2.0
"""The installed agent as a process of its own, following a signed channel while a clip plays."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.contract import Delivery, ModelManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CLIP = resources.files("helmet_agent") / "assets" / "clips" / "one-by-one-person-detection.mp4"
SOURCE = f"[[sources]]\nname = 'gate'\nurl = '{CLIP}'\nloop = true\nrealtime = true\n"
BUNDLED = ModelManifest.from_bytes((bundled_model_dir() / "manifest.json").read_bytes())


class Agent:
    """``helmet-agent run`` with its frames and its log."""

    def __init__(self, config: Path) -> None:
        self.config = config
        command = [sys.executable, "-m", "helmet_agent", "run", "--config", str(config), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.frames: queue.Queue[dict[str, Any]] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self.log: list[str] = []
        threading.Thread(target=self._read_frames, daemon=True).start()
        threading.Thread(target=self._read_log, daemon=True).start()

    def until_model(self, sha256: str, seconds: float = 60.0) -> int:
        """Waits for a frame that a model looked at; how many frames came since the last call."""
        deadline = time.monotonic() + seconds
        for count in range(1, 1_000_000):
            try:
                frame = self.frames.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no frame of {sha256} in time; log:\n{''.join(self.log)}") from None
            self.seen.append(frame)
            if frame["model"] == sha256:
                return count
        raise AssertionError

    def until(self, reached: Callable[[dict[str, Any]], bool], seconds: float = 60.0) -> dict[str, Any]:
        """Waits until ``models list`` shows something."""
        deadline = time.monotonic() + seconds
        while not reached(state := models(self.config)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not reached: {state}; log:\n{''.join(self.log)}")
            time.sleep(0.5)
        return state

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def _read_frames(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.frames.put(json.loads(line))

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)


def models(config: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "helmet_agent", "models", "list", "--config", str(config), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def start() -> Iterator[Callable[[Path], Agent]]:
    agents: list[Agent] = []

    def begin(config: Path) -> Agent:
        agents.append(Agent(config))
        return agents[-1]

    yield begin
    for agent in agents:
        agent.process.kill()
        agent.process.wait()


def test_a_published_model_serves_and_is_confirmed_while_the_clip_plays(
    channel: Any, make_model: Any, write_config: Any, start: Callable[[Path], Agent]
) -> None:
    config = write_config(SOURCE)
    agent = start(config)
    agent.until_model(BUNDLED.model.sha256)
    model = make_model(seed=1, release=2)
    channel.publish(model)
    agent.until_model(model.sha256)
    state = agent.until(lambda found: found["state"] == "confirmed")
    assert state["current"]["sha256"] == model.sha256
    assert state["last_confirmed"]["sha256"] == model.sha256
    assert agent.stop() == 0
    numbers = [frame["frame"] for frame in agent.seen]
    assert numbers == sorted(numbers)
    again = start(config)
    again.until_model(model.sha256)
    assert {frame["model"] for frame in again.seen} == {model.sha256}


def test_a_cold_model_is_taken_at_the_next_start(
    channel: Any, make_model: Any, write_config: Any, start: Callable[[Path], Agent]
) -> None:
    config = write_config(SOURCE)
    agent = start(config)
    model = make_model(seed=2, release=2, delivery=Delivery(hot_update=False, poll_seconds=1))
    channel.publish(model)
    state = agent.until(lambda found: found["state"] == "waiting_restart")
    assert state["current"]["sha256"] == BUNDLED.model.sha256
    assert state["candidate"]["sha256"] == model.sha256
    assert agent.stop() == 0
    again = start(config)
    again.until_model(model.sha256)
    assert {frame["model"] for frame in again.seen} == {model.sha256}
    again.until(lambda found: found["state"] == "confirmed")
