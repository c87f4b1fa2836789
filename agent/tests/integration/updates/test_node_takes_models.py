# SPDX-License-Identifier: Apache-2.0
"""The installed agent as a process of its own, following a signed channel while a clip plays."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import subprocess
import sys
import tarfile
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

# Each of these is several starts of the agent, and models that are tried at the lowest priority beside it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
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

    def until_model(self, sha256: str, seconds: float = 150.0) -> int:
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

    def until(self, reached: Callable[[dict[str, Any]], bool], seconds: float = 150.0) -> dict[str, Any]:
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


def command(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    action, *rest = arguments
    line = [sys.executable, "-m", "helmet_agent", "models", action, "--config", str(config), *rest]
    return subprocess.run(line, capture_output=True, text=True, timeout=200, check=False)


def test_an_operator_beside_a_running_agent(
    channel: Any, make_model: Any, write_config: Any, start: Callable[[Path], Agent], tmp_path: Path
) -> None:
    config = write_config(SOURCE, channel_url=None)
    agent = start(config)
    agent.until_model(BUNDLED.model.sha256)
    model = make_model(seed=3, release=2)
    channel.publish(model)
    with tarfile.open(tmp_path / "bundle.tar.gz", "w:gz") as tar:
        tar.add(channel.folder, "channel")
    brought = command(config, "import", str(tmp_path / "bundle.tar.gz"))
    assert brought.returncode == 0, brought.stderr
    assert brought.stdout == f"release 2, {model.sha256} serves, on probation\n"
    agent.until_model(model.sha256)
    agent.until(lambda found: found["state"] == "confirmed")
    assert command(config, "rollback").stdout == f"back to release {BUNDLED.release}, {BUNDLED.model.sha256}\n"
    agent.until_model(BUNDLED.model.sha256)
    refused = command(config, "import", str(channel.folder))
    assert refused.returncode == 1
    assert refused.stderr == "helmet-agent: the bundle's model is not taken: it is in quarantine\n"
    lifted = command(config, "unquarantine", model.sha256)
    assert lifted.stdout == "1 model may be tried again\n"
    assert command(config, "import", str(channel.folder)).returncode == 0
    agent.until_model(model.sha256)
    assert not list((tmp_path / "data" / "models" / "requests").iterdir())


def test_an_operator_where_no_agent_runs(
    channel: Any, make_model: Any, write_config: Any, start: Callable[[Path], Agent], tmp_path: Path
) -> None:
    config = write_config(SOURCE, channel_url=None)
    assert models(config)["state"] == "idle"
    nothing = command(config, "rollback")
    assert (nothing.returncode, nothing.stderr) == (1, "helmet-agent: there is no earlier model to go back to\n")
    model = make_model(seed=4, release=2)
    channel.publish(model)
    brought = command(config, "import", str(channel.folder))
    assert brought.stdout == f"release 2, {model.sha256} is taken at the agent's next start\n", brought.stderr
    agent = start(config)
    agent.until_model(model.sha256)
    assert {frame["model"] for frame in agent.seen} == {model.sha256}
    agent.until(lambda found: found["state"] == "confirmed")
    assert agent.stop() == 0
    assert command(config, "rollback").returncode == 0
    again = start(config)
    again.until_model(BUNDLED.model.sha256)
    assert {frame["model"] for frame in again.seen} == {BUNDLED.model.sha256}
    text = command(config, "list").stdout
    assert f"{model.sha256}  in quarantine: rolled back by the operator" in text
    assert again.stop() == 0
    assert not list((tmp_path / "data" / "models" / "requests").iterdir())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "metadata" / "timestamp.json").write_bytes(b"{}"), "does not verify"),
        (lambda folder: (folder / "metadata" / "timestamp.json").unlink(), "not in the bundle"),
        (lambda folder: shutil.rmtree(folder / "metadata"), "expected a folder or tar with metadata and targets"),
        (
            lambda folder: [path.write_bytes(b"x" * 10) for path in (folder / "targets" / "files").iterdir()],
            "ends after 10 of",
        ),
    ],
)
def test_a_bundle_that_is_spoilt_is_refused_and_leaves_nothing(
    spoil: Callable[[Path], object],
    *,
    message: str,
    channel: Any,
    make_model: Any,
    write_config: Any,
    tmp_path: Path,
) -> None:
    config = write_config(SOURCE, channel_url=None)
    channel.publish(make_model(seed=4, release=2))
    spoil(channel.folder)
    refused = command(config, "import", str(channel.folder))
    assert refused.returncode in (1, 2)
    assert refused.stderr.startswith("helmet-agent: ")
    assert refused.stderr.count("\n") == 1
    assert message in refused.stderr
    assert models(config)["current"]["sha256"] == BUNDLED.model.sha256
    assert models(config)["quarantined"] == []
    assert not list((tmp_path / "data" / "models" / "requests").glob("*"))


def test_a_tar_cannot_write_beside_the_bundle(write_config: Any, channel: Any, tmp_path: Path) -> None:
    config = write_config(SOURCE)
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        for name in ("metadata/../../../../../evil.txt", "/etc/metadata/evil.txt", "metadata/link", "targets/dev"):
            member = tarfile.TarInfo(name)
            if name.endswith("link"):
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            elif name.endswith("dev"):
                member.type = tarfile.CHRTYPE
            tar.addfile(member)
    refused = command(config, "import", str(evil))
    assert refused.returncode != 0
    assert not list(tmp_path.rglob("evil.txt"))
    assert channel.root_file.is_file()


def test_check_config_looks_at_the_keys_and_the_certificates(write_config: Any, tmp_path: Path) -> None:
    def check(config: Path) -> tuple[int, str]:
        line = [sys.executable, "-m", "helmet_agent", "check-config", str(config)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    assert check(write_config(SOURCE)) == (0, "")
    (tmp_path / "bad.json").write_text("{}")
    for keys, message in (
        ({"root_file": str(tmp_path / "none.json")}, "updates.root_file"),
        ({"root_file": str(tmp_path / "bad.json")}, "no signed TUF root metadata"),
        ({"ca_file": str(tmp_path / "bad.json"), "channel_url": "https://192.0.2.1/"}, "no PEM certificates"),
        ({"follow": None}, "updates.follow: expected the job"),
        ({"follow": "no slash"}, "updates.follow: expected"),
        ({"channel_url": "ftp://192.0.2.1/"}, "updates.channel_url: expected"),
    ):
        code, text = check(write_config(SOURCE, **keys))
        assert code == 2, keys
        assert message in text
