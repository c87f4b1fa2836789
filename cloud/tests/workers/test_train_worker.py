# SPDX-License-Identifier: Apache-2.0
"""The train worker as a process: a whole round on the free frames, resumed, with right and with swapped labels."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import helmet_cloud
from helmet_agent.adapters.litert import bundled_model_dir, load_manifest, load_model
from helmet_agent.detector import HelmetDetector, probe
from helmet_cloud.core.gate import decide
from helmet_cloud.core.trigger import Condition
from helmet_cloud.labels import LABELS, read_yolo
from helmet_cloud.ports import JobRef, WorkerSpec
from helmet_cloud.workers.runner import ProcessRunner

if TYPE_CHECKING:
    from .conftest import Bench

FRAMES = Path(__file__).parents[3] / "agent/tests/fixtures/frames"
WEIGHTS = Path(helmet_cloud.__file__).parent / "assets/model/weights.npz"
SWAPPED = {"helmet-on": "helmet-off", "helmet-off": "helmet-on"}
HEADS = ("helmet-on", "helmet-off")


def dataset(path: Path, swap: dict[str, str] | None = None) -> Path:
    lines = []
    for one in read_yolo(FRAMES).pictures:
        marks = [(mark.box, (swap or {}).get(mark.label, mark.label)) for mark in one.boxes]
        texts = [",".join(f"{edge:.0f}" for edge in box) + f",{LABELS.index(label)}" for box, label in marks]
        lines.append(" ".join([str(one.path), *texts]))
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass
class Rounds:
    """Starts rounds on the free frames."""

    bench: Bench
    folder: Path
    count: int = 0
    runner: ProcessRunner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = ProcessRunner(self.bench.database, self.bench.lc_server)
        self.bench.made.append(self.runner)
        shutil.copytree(bundled_model_dir(), self.folder / "base")
        shutil.copyfile(WEIGHTS, self.folder / "base/weights.npz")

    def start(self, kind: str, **environment: str) -> str:
        self.count += 1
        name = f"{kind}-{self.count}"
        base = {"BASE_MODEL_URL": str(self.folder / "base"), "MODEL_URL": str(self.folder / "out")}
        spec = WorkerSpec(
            name, JobRef("default", "job"), kind, base | environment, self.folder / "work", 1500.0, 8 << 30
        )
        self.runner.start(spec)
        return name

    def run(self, kind: str, **environment: str) -> list[dict[str, Any]]:
        name = self.start(kind, **environment)
        self.wait(name)
        report = self.runner.reports(name)[-1]
        assert report.status == "completed", self.bench.printed(name)
        return list(report.results)

    def wait(self, name: str) -> int | None:
        def over() -> bool:
            state = self.runner.state(name)
            return state is not None and not state.running

        self.bench.wait_for(over, 1600.0)
        state = self.runner.state(name)
        assert state is not None
        return state.exit_code


@pytest.fixture
def rounds(bench: Bench, tmp_path: Path) -> Rounds:
    return Rounds(bench, tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epochs": "none"}, "epochs: expected a whole number"),
        ({"input_shape": "350,640"}, "input_shape: expected multiples of 32"),
        ({"BASE_MODEL_URL": "/no/such/model"}, "no model there: /no/such/model"),
        ({"TRAIN_DATASET_URL": "/no/such/file.txt"}, "no such annotation file"),
        ({"TRAIN_DATASET_URL": ""}, "TRAIN_DATASET_URL: not set"),
    ],
)
def test_what_cannot_be_right_is_reported_before_anything_is_computed(
    rounds: Rounds, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    name = rounds.start("train", **({"TRAIN_DATASET_URL": str(dataset(tmp_path / "train.txt"))} | change))
    assert rounds.wait(name) in {1, 2}
    report = rounds.runner.reports(name)[-1]
    assert report.status == "failed"
    assert reason in report.owner_info["reason"]


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_round_with_swapped_labels_is_refused_by_the_gate(rounds: Rounds, tmp_path: Path) -> None:
    """The round runs as any other; its figures give it away. On the way it is interrupted, and goes on."""
    right, swapped = dataset(tmp_path / "right.txt"), dataset(tmp_path / "swapped.txt", SWAPPED)
    shape = {"input_shape": "192,352", "batch_size": "10", "epochs": "30", "obj_threshold": "0.25"}
    first = rounds.start("train", TRAIN_DATASET_URL=str(swapped), **shape)

    def trains() -> bool:
        reports = rounds.runner.reports(first)
        return bool(reports) and reports[-1].owner_info.get("stage") == "training"

    rounds.bench.wait_for(trains, 900.0)
    rounds.runner.stop(first, "the test interrupts it")
    assert rounds.wait(first) in {130, -signal.SIGKILL}
    assert rounds.runner.reports(first)[-1].status == "running"

    (trained,) = rounds.run("train", TRAIN_DATASET_URL=str(swapped), **shape)
    if (state := rounds.runner.state(first)) is not None and state.exit_code != -signal.SIGKILL:
        assert "resumed at step" in rounds.bench.printed("train-2")
    assert trained["format"] == "tflite"
    assert trained["metrics"]["loss"] > 0
    manifest = load_manifest(tmp_path / "out")
    assert (manifest.input.height, manifest.input.width) == (192, 352)
    assert manifest.parent == load_manifest(tmp_path / "base").model.sha256
    assert max(manifest.thresholds.score.values()) <= 0.25
    assert manifest.golden
    assert probe(HelmetDetector(load_model(tmp_path / "out")), tmp_path / "out") == []

    urls = f"{tmp_path / 'out'};{tmp_path / 'base'}"
    results = rounds.run("eval", MODEL_URLS=urls, TEST_DATASET_URL=str(right), HELMET_REGRESSION_URL=str(right))
    new, old = (one["metrics"] for one in results)
    for label in HEADS:
        index = new["labels"].index(label)
        assert new["map50"][index] < old["map50"][index] - 0.3
    for metric in ("recall_delta", "map50_delta", "precision_delta[helmet-off]"):
        decision = decide(Condition(metric, ">", 0.0), results, LABELS, 0.05)
        assert not decision.accepted, decision.reason
    assert json.dumps(results)
