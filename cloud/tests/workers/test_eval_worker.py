# SPDX-License-Identifier: Apache-2.0
"""The eval worker as a process, on real models and the free frames."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_cloud.evaluation import evaluate
from helmet_cloud.labels import LABELS, read_yolo
from helmet_cloud.ports import JobRef, WorkerSpec
from helmet_cloud.workers.runner import ProcessRunner

if TYPE_CHECKING:
    from .conftest import Bench

FRAMES = Path(__file__).parents[3] / "agent/tests/fixtures/frames"


NAMES = ("helmet-off", "helmet-on", "person", "helmet")


def dataset(path: Path, keep: str = "", names: tuple[str, ...] = LABELS) -> Path:
    """The free frames whose name holds ``keep`` as a Dataset file with absolute picture names."""
    lines = []
    for one in read_yolo(FRAMES).pictures:
        if keep in one.path.name:
            marks = [",".join(f"{edge:.0f}" for edge in m.box) + f",{names.index(m.label)}" for m in one.boxes]
            lines.append(" ".join([str(one.path), *marks]))
    path.write_text("\n".join(lines) + "\n")
    return path


def run(bench: Bench, environment: dict[str, str]) -> tuple[ProcessRunner, Any]:
    runner = ProcessRunner(bench.database, bench.lc_server)
    bench.made.append(runner)
    spec = WorkerSpec("worker-1", JobRef("default", "job"), "eval", environment, bench.folder / "work", 110.0, 1 << 30)
    runner.start(spec)
    return runner, bench.ended(runner)


def test_new_and_old_are_measured_on_both_sets(bench: Bench, tmp_path: Path) -> None:
    test, regression = (
        dataset(tmp_path / "test.txt", "worker_zone", NAMES),
        dataset(tmp_path / "regression.txt", "one_by_one"),
    )
    old = tmp_path / "old"
    shutil.copytree(bundled_model_dir(), old)
    runner, state = run(
        bench,
        {
            "MODEL_URLS": f"{bundled_model_dir()};{old / 'saved_model.pb'}",
            "TEST_DATASET_URL": str(test),
            "HELMET_REGRESSION_URL": str(regression),
            "input_shape": "352,640",
            "class_names": ",".join(NAMES),
        },
    )
    assert state.exit_code == 0, bench.printed()
    report = runner.reports("worker-1")[-1]
    assert (report.status, [one["url"] for one in report.results]) == (
        "completed",
        [str(bundled_model_dir()), str(old / "saved_model.pb")],
    )
    new, before = (one["metrics"] for one in report.results)
    assert new == before
    assert new["labels"] == list(NAMES)
    pictures = [one for one in read_yolo(FRAMES).pictures if "worker_zone" in one.path.name]
    truth = evaluate(bundled_model_dir(), pictures)
    assert new["samples"] == len(pictures) == 8
    for index, label in enumerate(new["labels"]):
        known = truth.per_class.get(label)
        assert new["objects"][index] == (known.objects if known else 0)
        for name, figure in (("precision", "precision"), ("recall", "recall"), ("f1", "f1"), ("map50", "ap50")):
            wanted = None if known is None else pytest.approx(getattr(known, figure), abs=0.02)  # boxes were rounded
            assert new[name][index] == wanted
    assert new["recall"][3] is None
    assert new["regression"]["objects"][0] == 12


def test_model_that_is_not_there_is_a_failure_with_its_reason(bench: Bench, tmp_path: Path) -> None:
    runner, state = run(
        bench, {"MODEL_URLS": f"{tmp_path};/no/x", "TEST_DATASET_URL": str(dataset(tmp_path / "t.txt"))}
    )
    assert state.exit_code == 1
    (report,) = (one for one in runner.reports("worker-1") if one.status != "running")
    assert report.status == "failed"
    assert "manifest.json" in report.owner_info["reason"]


def test_set_without_objects_is_measured_as_nothing_rather_than_made_up(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text(f"{FRAMES / 'images/one_by_one_0140.jpg'}\n")
    runner, state = run(bench, {"MODEL_URLS": str(bundled_model_dir()), "TEST_DATASET_URL": str(tmp_path / "test.txt")})
    assert state.exit_code == 0, bench.printed()
    (result,) = runner.reports("worker-1")[-1].results
    assert result["metrics"]["precision"] == [None] * 4
    assert result["metrics"]["objects"] == [0] * 4


def test_eval_worker_never_takes_tensorflow_along() -> None:
    script = "import sys, helmet_cloud.workers.eval; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
