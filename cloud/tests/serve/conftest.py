# SPDX-License-Identifier: Apache-2.0
"""A hub's folder made once, and the hub as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from helmet_cloud.setup import InitOptions, initialise

START_SECONDS = 60.0


@dataclass
class RunningHub:
    """A serving hub.

    Attributes:
        folder: its folder.
        process: the process.
        url: where it answers.
        log: what it says.
    """

    folder: Path
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def token(self) -> str:
        """The administrator's."""
        return (self.folder / "tokens" / "admin.token").read_text().strip()

    def client(self, *, admin: bool = False) -> httpx.Client:
        """A client that trusts the hub's CA and nobody else."""
        headers = {"Authorization": f"Bearer {self.token}"} if admin else {}
        trust = ssl.create_default_context(cafile=str(self.folder / "tls" / "ca.crt"))
        return httpx.Client(base_url=self.url, verify=trust, headers=headers, timeout=10.0)

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Ends it; seconds that took."""
        begin = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(20.0)
        return time.monotonic() - begin


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("made") / "hub"
    initialise(folder, InitOptions("127.0.0.1:0"), time.time)
    settings = folder / "hub.toml"
    settings.write_text(
        settings.read_text().replace('# workers_listen = "127.0.0.1:9100"', 'workers_listen = "127.0.0.1:0"')
    )
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A hub's folder of this test's own."""
    return Path(shutil.copytree(made, tmp_path / "hub"))


Serve = Callable[..., RunningHub]


def begin(folder: Path, log: Path, *options: str, **environ: str) -> RunningHub:
    """Starts a hub and waits until it answers."""
    address = folder / "address"
    address.unlink(missing_ok=True)
    command = [sys.executable, "-m", "helmet_cloud.cli", "serve", "--data-dir", str(folder), *options]
    with log.open("wb") as to:
        process = subprocess.Popen(command, stdout=to, stderr=to, env=os.environ | environ)
    deadline = time.monotonic() + START_SECONDS
    while not address.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AssertionError(log.read_text())
        time.sleep(0.02)
    return RunningHub(folder, process, json.loads(address.read_text())["url"], log)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts hubs and ends them after the test."""
    begun: list[RunningHub] = []

    def start(folder: Path, *options: str, **environ: str) -> RunningHub:
        begun.append(begin(folder, tmp_path / f"log-{len(begun)}", *options, **environ))
        return begun[-1]

    yield start
    for hub in begun:
        hub.process.kill()
        hub.process.wait()


@pytest.fixture(scope="module")
def shared(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """One hub for all tests of a module that only ask."""
    place: Path = tmp_path_factory.mktemp("shared")
    hub = begin(Path(shutil.copytree(made, place / "hub")), place / "log")
    yield hub
    hub.process.kill()
    hub.process.wait()
