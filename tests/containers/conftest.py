# SPDX-License-Identifier: Apache-2.0
"""The agent's image, built on the molecule hosts' own base image, and one container of it as Sedna would start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sedna_local_controller import LocalController, mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
HOST = ROOT / "molecule/shared/host"
IMAGE = "localhost/helmet-agent:test"
UID = 10001
ENVIRONMENT = os.environ | {"CONTAINERS_CONF": str(HOST / "containers.conf")}


def engine(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["podman", *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def image() -> str:
    """Debian 12 with Python 3.11, made by mmdebstrap, and the agent on top."""
    base = subprocess.run([HOST / "image"], env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout.split()[
        -1
    ]
    maker = [sys.executable, str(ROOT / "tools/build_image.py"), "agent", "--base", base, "--tag", IMAGE]
    done = subprocess.run(maker, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class InferenceWorker:
    """One container, with what Sedna's global manager would give its pod: mounts, environment, the node's network."""

    def __init__(self, image: str, folder: Path, controller: LocalController) -> None:
        self.image, self.folder, self.controller = image, folder, controller
        self.name = f"helmet-infer-{uuid.uuid4().hex[:8]}"
        self.hot, self.he, self.results = folder / "hot", folder / "he", folder / "results"
        for path in (self.hot, self.he, self.results):
            path.mkdir()
        for path in (self.he, self.results):
            os.chown(path, UID, UID)

    def start(self, memory: str) -> None:
        deploy = self.folder / "models/deploy_model/saved_model.pb"
        _, below, inside = mounts("/models/deploy_model/saved_model.pb")
        environment = {
            "NAMESPACE": "default",
            "JOB_NAME": "helmet-detection-demo",
            "WORKER_NAME": "inferworker-x8k2p",
            "LC_SERVER": self.controller.url,
            "DATA_PATH_PREFIX": "/home/data",
            "MODEL_URL": inside,
            "HEM_NAME": "IBT",
            "HEM_PARAMETERS": '[{"key":"threshold_img","value":"0.9"},{"key":"threshold_box","value":"0.9"}]',
            "MODEL_HOT_UPDATE": "true",
            "MODEL_POLL_PERIOD_SECONDS": "1",
            "MODEL_HOT_UPDATE_CONFIG": "/model-hot-update/model_config.json",
            "input_shape": "352,640",
            "class_names": "person,helmet,helmet-on,helmet-off",
            "obj_threshold": "0.3",
            "nms_threshold": "0.4",
            "video_url": "file://video/video.mp4",
            "HE_SAVED_URL": "/he_saved_url",
            "RESULT_SAVED_URL": "/results",
            "HELMET_AGENT_PROBATION_SECONDS": "2",
        }
        volumes = {
            deploy.parent: f"{below}:ro",
            self.folder / "video": "/video:ro",
            self.hot: "/model-hot-update:ro",
            self.he: "/he_saved_url",
            self.results: "/results",
        }
        given = [f"--env={name}={value}" for name, value in environment.items()]
        given += [f"--volume={host}:{inner}" for host, inner in volumes.items()]
        confined = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", f"--memory={memory}"]
        given += ["--volume=/var/lib/helmet-agent", "--network=host", *confined]
        engine("run", "--detach", "--name", self.name, *given, self.image, "inference.py", "--json")

    def frames(self) -> list[dict[str, object]]:
        """Every frame so far, as the agent printed it."""
        lines = [line for line in engine("logs", self.name).splitlines() if line.startswith('{"source"')]
        return [json.loads(line) for line in lines]

    def log(self) -> str:
        done = subprocess.run(
            ["podman", "logs", self.name], env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        return done.stderr[-4000:]

    def wait_for(self, reached: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.5)

    def inspect(self, form: str) -> str:
        return engine("inspect", "--format", form, self.name)

    def remove(self) -> None:
        engine("rm", "--force", "--volumes", "--time", "2", self.name, check=False)


@pytest.fixture
def worker(image: str, tmp_path: Path) -> Iterator[InferenceWorker]:
    controller = LocalController()
    found = InferenceWorker(image, tmp_path, controller)
    yield found
    found.remove()
    controller.close()


@pytest.fixture(scope="session", name="podman")
def podman_command() -> Callable[..., str]:
    """Runs podman and gives what it printed."""
    return engine
