# SPDX-License-Identifier: Apache-2.0
"""The loop over real processes and the real report endpoint; the programs are a few lines, the folders are relative."""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvicorn

from helmet_cloud.api.workers import workers_app
from helmet_cloud.clock import SystemClock
from helmet_cloud.controller import JobController
from helmet_cloud.settings import HubHome, HubSettings
from helmet_cloud.workers.runner import ProcessRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Rig

WORKER = """
import json, os, sys, urllib.request
from pathlib import Path
from helmet_cloud.testing import figures, write_model
kind = sys.argv[1]
if kind == "train":
    data = Path(os.environ["TRAIN_DATASET_URL"])
    assert data.is_absolute() and Path(os.environ["HELMET_CHECKPOINT_DIR"]).is_absolute()
    assert all((data.parent / line.split()[0]).read_bytes() for line in data.open())
    assert (Path(os.environ["BASE_MODEL_URL"]) / "weights.npz").is_file()
    folder = Path(os.environ["MODEL_URL"])
    write_model(folder, b"a better model")
    results = [{"format": "tflite", "url": str(folder), "metrics": {"loss": 1.0}}]
else:
    urls = os.environ["MODEL_URLS"].split(";")
    assert all((Path(url) / "model.tflite").is_file() for url in urls)
    assert Path(os.environ["HELMET_REGRESSION_URL"]).is_file()
    found = figures((0.8,) * 4, (0.7,) * 4), figures((0.6,) * 4, (0.5,) * 4)
    results = [{"format": "tflite", "url": url, "metrics": one} for url, one in zip(urls, found)]
name = os.environ["WORKER_NAME"]
body = {"name": name, "namespace": os.environ["NAMESPACE"], "ownerName": os.environ["JOB_NAME"],
    "ownerKind": "incrementallearningjob", "kind": kind, "status": "completed", "results": results}
url = os.environ["LC_SERVER"] + "/sedna/workers/" + name + "/info"
urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()))
"""


@pytest.fixture
def lc_server(rig: Rig) -> Iterator[str]:
    """The address of a running report endpoint."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(workers_app(rig.database), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_a_round_over_processes_and_sockets(
    rig: Rig, lc_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rig.add(range(20))
    programs = {kind: (sys.executable, "-c", WORKER, kind) for kind in ("train", "eval")}
    runner = ProcessRunner(rig.database, lc_server, programs=programs)
    settings = rig.home.settings
    relative = HubSettings(
        rootfs=settings.rootfs.relative_to(tmp_path), regression_set=settings.regression_set.relative_to(tmp_path)
    )
    home = HubHome(rig.home.folder.relative_to(tmp_path), relative)
    controller = JobController(home, rig.database, rig.resources, runner, rig.channel, SystemClock())
    stop = threading.Event()
    thread = threading.Thread(target=controller.run, args=(stop,))
    thread.start()
    try:
        deadline = time.monotonic() + 90.0
        while time.monotonic() < deadline and not any(row.status != "running" for row in rig.rounds):
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join()
        runner.close()
    assert [(row.status, row.release) for row in rig.rounds] == [("accepted", 1)], rig.message
