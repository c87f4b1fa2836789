# SPDX-License-Identifier: Apache-2.0
"""The agent as Sedna's inference worker: a process with Sedna's environment alone, and a local controller beside it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sedna_local_controller import CONFIG_NAME, LocalController, announce, copy_in_place

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.sedna_feed import write_package
from helmet_agent.contract import ModelManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CLIP = Path(__file__).parents[3] / "src/helmet_agent/assets/clips/one-by-one-person-detection.mp4"
BUNDLED = ModelManifest.from_bytes((bundled_model_dir() / "manifest.json").read_bytes())


class Worker:
    """One inference worker and its node's folders."""

    def __init__(self, folder: Path, controller: LocalController) -> None:
        self.folder = folder
        self.hot, self.slot = folder / "hot", folder / "models/deploy_model/saved_model.pb"
        self.hot.mkdir()
        shutil.copytree(bundled_model_dir(), self.slot.parent)
        self.environment = {
            "PATH": os.environ["PATH"],
            "NAMESPACE": "default",
            "JOB_NAME": "helmet-detection-demo",
            "WORKER_NAME": "inferworker-x8k2p",
            "LC_SERVER": controller.url,
            "MODEL_URL": str(self.slot),
            "HEM_NAME": "IBT",
            "HEM_PARAMETERS": '[{"key":"threshold_img","value":"0.9"},{"key":"threshold_box","value":"0.9"}]',
            "MODEL_HOT_UPDATE": "true",
            "MODEL_POLL_PERIOD_SECONDS": "1",
            "MODEL_HOT_UPDATE_CONFIG": str(self.hot / CONFIG_NAME),
            "video_url": f"file:/{CLIP}",
            "HE_SAVED_URL": str(folder / "he"),
            "HELMET_AGENT_DATA_DIR": str(folder / "data"),
            "HELMET_AGENT_LISTEN": "127.0.0.1:0",
            "HELMET_AGENT_PROBATION_SECONDS": "1",
        }
        self.process: subprocess.Popen[str] | None = None
        self.frames: queue.Queue[dict[str, Any]] = queue.Queue()
        self.log: list[str] = []

    def start(self) -> None:
        command = [sys.executable, "-m", "helmet_agent", "run", "--from-sedna-env", "--json"]
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for pipe, take in ((self.process.stdout, self._frame), (self.process.stderr, self.log.append)):
            threading.Thread(target=lambda pipe=pipe, take=take: [take(line) for line in pipe], daemon=True).start()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(20)

    def _frame(self, line: str) -> None:
        self.frames.put(json.loads(line))

    def until_model(self, sha256: str, seconds: float = 90.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                frame = self.frames.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no frame of {sha256}; log:\n{''.join(self.log)}") from None
            if frame["model"] == sha256:
                return frame

    def bring(self, package: Path, version: str, pause_seconds: float = 0.0) -> None:
        copy_in_place(package, self.hot / "model.pkg")
        announce(self.hot / CONFIG_NAME, str(self.hot / "model.pkg"), version, pause_seconds=pause_seconds)


@pytest.fixture
def controller() -> Iterator[LocalController]:
    found = LocalController()
    yield found
    found.close()


@pytest.fixture
def worker(tmp_path: Path, controller: LocalController) -> Iterator[Worker]:
    found = Worker(tmp_path, controller)
    yield found
    if found.process is not None:
        found.process.kill()
        found.process.wait()


def package(folder: Path, model: Any) -> Path:
    path = folder / f"{model.folder.name}.pkg"
    write_package(model.folder, path)
    return path


def test_hot_updates_swap_for_real_and_a_bad_model_never_serves(
    worker: Worker, controller: LocalController, make_model: Callable[..., Any]
) -> None:
    worker.start()
    worker.until_model(BUNDLED.model.sha256)
    good = make_model(seed=1)
    controller.unavailable = 2
    worker.bring(package(worker.folder, good), "v1", pause_seconds=0.7)
    worker.until_model(good.sha256)
    (first,) = controller.wait_for("deploy", 1)
    assert (first["status"], first["ownerInfo"]["model"]) == ("completed", good.sha256)

    bad = make_model(content=(bundled_model_dir() / "model.tflite").read_bytes()[:-200_000])
    worker.bring(package(worker.folder, bad), "v2")
    controller.wait_for("deploy", 2)
    assert controller.taken("deploy")[1]["status"] == "failed"
    while not worker.frames.empty():
        worker.frames.get()
    assert worker.frames.get(timeout=30)["model"] == good.sha256

    newer = make_model(seed=2)
    worker.bring(package(worker.folder, newer), "v3")
    worker.until_model(newer.sha256)
    controller.wait_for("deploy", 3)
    assert worker.stop() == 0
    while not worker.frames.empty():
        worker.frames.get()
    worker.start()
    assert worker.frames.get(timeout=60)["model"] == newer.sha256, "the confirmed model serves after a restart"
    time.sleep(3)
    assert len(controller.taken("deploy")) == 3, "a restart reports nothing twice"
    assert list((worker.folder / "he").glob("*.jpeg")) or list((worker.folder / "he").glob("*"))


def test_a_cold_update_is_what_the_next_start_serves(worker: Worker, make_model: Callable[..., Any]) -> None:
    worker.environment |= {"MODEL_HOT_UPDATE": "", "MODEL_HOT_UPDATE_CONFIG": ""}
    new = make_model(seed=3)
    long = worker.folder / "long.pkg"
    write_package(make_model(content=(bundled_model_dir() / "model.tflite").read_bytes() + b"x" * 99_999).folder, long)
    copy_in_place(long, worker.slot)
    copy_in_place(package(worker.folder, new), worker.slot)
    worker.start()
    worker.until_model(new.sha256)
    assert worker.stop() == 0


def test_a_cold_update_that_is_damaged_is_refused_in_one_line(worker: Worker, make_model: Callable[..., Any]) -> None:
    worker.environment |= {"MODEL_HOT_UPDATE": ""}
    copy_in_place(package(worker.folder, make_model(seed=3)), worker.slot)
    content = bytearray(worker.slot.read_bytes())
    content[-200_000] ^= 1
    worker.slot.write_bytes(content)
    worker.start()
    assert worker.process is not None
    assert worker.process.wait(60) == 1
    time.sleep(0.2)
    assert [line for line in worker.log if line.startswith("helmet-agent: ")] == worker.log
    assert "is not the file that the manifest names" in worker.log[0]
