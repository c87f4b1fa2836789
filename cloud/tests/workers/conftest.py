# SPDX-License-Identifier: Apache-2.0
"""A hub's worker side on real sockets and processes: database, report endpoint, and workers written for the test."""

from __future__ import annotations

import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import uvicorn

import helmet_cloud.store.worker_reports  # noqa: F401 - its tables
from helmet_cloud.api.workers import workers_app
from helmet_cloud.ports import JobRef, WorkerSpec, WorkerState
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
from helmet_cloud.workers.runner import ProcessRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JOB = JobRef("default", "helmet-detection-demo")
REPORT = """
import json, os, sys, time, urllib.request
def report(status, body=None, **more):
    document = {"name": os.environ["WORKER_NAME"], "namespace": os.environ["NAMESPACE"],
        "ownerName": os.environ["JOB_NAME"], "ownerKind": "incrementallearningjob", "kind": "train",
        "status": status, "ownerInfo": more, "results": []}
    url = os.environ["LC_SERVER"] + "/sedna/workers/" + os.environ["WORKER_NAME"] + "/info"
    request = urllib.request.Request(url, (body or json.dumps(document)).encode())
    try:
        return urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
"""
"""What the test's workers begin with: a client of Sedna's endpoint that shares no code with ours."""


def new_database(path: Path) -> Database:
    database = Database(path)
    Base.metadata.create_all(database.engine)
    return database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path / "hub.sqlite")
    yield made
    made.close()


@pytest.fixture
def lc_server(database: Database) -> Iterator[str]:
    """The address of a running report endpoint."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(workers_app(database), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@dataclass
class Bench:
    """Starts workers whose program is the text of the test."""

    database: Database
    lc_server: str
    folder: Path
    log_bytes: int = 1 << 20
    made: list[ProcessRunner] = field(default_factory=list)

    def runner(self, program: str) -> ProcessRunner:
        programs = {"train": (sys.executable, "-c", REPORT + program)}
        runner = ProcessRunner(
            self.database, self.lc_server, programs=programs, log_bytes=self.log_bytes, grace_seconds=1.0
        )
        self.made.append(runner)
        return runner

    def spec(self, name: str = "worker-1", *, timeout: float = 60.0, memory: int = 1 << 30) -> WorkerSpec:
        return WorkerSpec(name, JOB, "train", {"epochs": "3"}, self.folder / "work", timeout, memory)

    def run(self, program: str, *, timeout: float = 60.0, memory: int = 1 << 30) -> tuple[ProcessRunner, WorkerState]:
        runner = self.runner(program)
        runner.start(self.spec(timeout=timeout, memory=memory))
        return runner, self.ended(runner)

    def ended(self, runner: ProcessRunner, name: str = "worker-1") -> WorkerState:
        """Its state once it does not run any more."""

        def look() -> WorkerState | None:
            state = runner.state(name)
            return None if state is None or state.running else state

        found = self.wait_for(look)
        assert isinstance(found, WorkerState)
        return found

    def wait_for(self, look: Callable[[], object], seconds: float = 60.0) -> object:
        """What ``look`` gives as soon as it gives something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.02)
        raise AssertionError(f"it did not happen within {seconds:g} s")

    def printed(self, name: str = "worker-1") -> str:
        """Its log."""
        return (self.folder / "work" / f"{name}.log").read_text()


@pytest.fixture
def bench(database: Database, lc_server: str, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(database, lc_server, tmp_path)
    yield made
    for runner in made.made:
        runner.close()
