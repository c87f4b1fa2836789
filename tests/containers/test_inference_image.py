# SPDX-License-Identifier: Apache-2.0
"""The agent's image started with Sedna's environment alone: it sees helmets, and takes a new model while it runs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest
from nudged_model import nudged_folder
from sedna_local_controller import hot_update

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.sedna_feed import write_package
from helmet_agent.contract import ModelManifest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.host, pytest.mark.timeout(300)]
CLIPS = Path(__file__).parents[2] / "agent/src/helmet_agent/assets/clips"
BUNDLED = ModelManifest.from_bytes((bundled_model_dir() / "manifest.json").read_bytes())


def test_the_image_is_small_unprivileged_and_names_no_index(image: str, podman: Callable[..., str]) -> None:
    assert podman("image", "inspect", image, "--format", "{{.Config.User}}") == "10001:10001"
    base = int(podman("image", "inspect", image, "--format", "{{.Size}}"))
    assert base < 700_000_000
    program = (
        "import hashlib, helmet_agent.sedna_env as m; print(hashlib.sha256(open(m.__file__, 'rb').read()).hexdigest())"
    )
    source = Path(__file__).parents[2] / "agent/src/helmet_agent/sedna_env.py"
    inside = podman("run", "--rm", image, "-c", program)
    assert inside == hashlib.sha256(source.read_bytes()).hexdigest(), "an earlier build's layer was taken"
    said = podman("history", "--no-trunc", image) + podman("image", "inspect", image)
    assert not re.search(r"https?://(?!github\.com)", said), "an address was written down"
    index = [value for name, value in os.environ.items() if name.startswith("PIP_") and "://" in value]
    assert not [value for value in index if value in said]


def test_it_detects_helmets_under_a_memory_limit_and_swaps_models(worker: Any, podman: Callable[..., str]) -> None:
    shutil.copytree(bundled_model_dir(), worker.folder / "models/deploy_model")
    (worker.folder / "video").mkdir()
    shutil.copy(CLIPS / "worker-zone-detection.mp4", worker.folder / "video/video.mp4")
    worker.start("512m")
    worker.wait_for(lambda: len(worker.frames()) >= 60)

    labels = {found["label"] for frame in worker.frames() for found in frame["detections"]}
    assert {"helmet-on", "person"} <= labels
    helmets = sum(any(found["label"] == "helmet-on" for found in frame["detections"]) for frame in worker.frames())
    assert helmets > len(worker.frames()) / 3
    worker.wait_for(lambda: any(worker.results.rglob("*.jp*g")))
    picture = cv2.imread(str(next(iter(worker.results.rglob("*.jp*g")))))
    assert picture is not None
    assert picture.shape[:2] == (1080, 1920), "the clip's own size"
    worker.wait_for(lambda: any(worker.he.rglob("*.jp*g")))

    new = nudged_folder(worker.folder / "trained", 5)
    write_package(worker.folder / "trained", worker.folder / "trained/model.pkg")
    hot_update(worker.folder / "trained/model.pkg", worker.hot, pause_seconds=1.0)
    worker.wait_for(lambda: worker.frames()[-1]["model"] == new.model.sha256, 90.0)
    (report,) = worker.controller.wait_for("deploy", 1, 60.0)
    assert (report["status"], report["ownerInfo"]["model"]) == ("completed", new.model.sha256)
    seen = [frame["model"] for frame in worker.frames()]
    assert set(seen) == {BUNDLED.model.sha256, new.model.sha256}
    assert seen == sorted(seen, key=lambda model: model == new.model.sha256), "it swapped once, between two frames"

    assert worker.inspect("{{.State.Running}} {{.State.OOMKilled}} {{.RestartCount}}") == "true false 0"
    program = "from helmet_agent.adapters.memory_reader import MemoryReader as M; print(M().read().group_limit_bytes)"
    limit = podman("exec", worker.name, "/opt/helmet/bin/python", "-c", program)
    assert int(limit) == 512 << 20
    podman("stop", "--time", "10", worker.name)
    assert worker.inspect("{{.State.ExitCode}}") == "0"
