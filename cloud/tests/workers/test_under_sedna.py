# SPDX-License-Identifier: Apache-2.0
"""The same workers under Sedna's local controller: its paths, its reports, and a trigger that can fire."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sedna_local_controller import DATA_PATH_PREFIX, LocalController, SednaPanic, input_of_round, mounts, trigger

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.sedna_feed import is_package, unpack, write_package
from helmet_agent.contract import ModelManifest
from helmet_cloud.labels import LABELS, read_yolo
from helmet_cloud.workers.gate_parameters import read_condition, read_gate
from helmet_cloud.workers.sedna_form import eval_results, host_path, train_results

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
FRAMES = ROOT / "agent/tests/fixtures/frames"
ASSETS = ROOT / "cloud/src/helmet_cloud/assets/model"


class Node:
    """A node's host folders below one folder, which its pods see as they are: the prefix is that folder."""

    def __init__(self, folder: Path, controller: LocalController) -> None:
        self.folder, self.controller = folder, controller
        data = folder / "data/helmet_detection/train_data"
        shutil.copytree(FRAMES / "images", data / "images")
        self.dataset = data / "train_data.txt"
        self.lines = []
        for one in read_yolo(FRAMES).pictures:
            marks = [",".join(f"{edge:.0f}" for edge in m.box) + f",{LABELS.index(m.label)}" for m in one.boxes]
            self.lines.append(" ".join([f"images/{one.path.name}", *marks]))
        self.dataset.write_text("\n".join(self.lines) + "\n")
        for name in ("base_model", "deploy_model"):
            shutil.copytree(bundled_model_dir(), folder / "models" / name)
        shutil.copy(ASSETS / "weights.npz", folder / "models/base_model")

    def inside(self, url: str) -> str:
        """A host's path as its pods see it."""
        return mounts(url, str(self.folder))[2]

    def samples(self, name: str, keep: str) -> str:
        """Lines of the Dataset as the controller writes them elsewhere: without their folder."""
        path = f"/output/data/{name}/1/data.txt"
        target = Path(self.inside(path))
        target.parent.mkdir(parents=True)
        target.write_text("".join(f"{line}\n" for line in self.lines if keep in line))
        return path

    def run(self, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """One pod: our program under nothing but what Sedna sets, and the template's own."""
        given = {
            "PATH": os.environ["PATH"],
            "NAMESPACE": "default",
            "JOB_NAME": "helmet-detection-demo",
            "WORKER_NAME": f"{program}-worker-ab12c",
            "LC_SERVER": self.controller.url,
            "DATA_PATH_PREFIX": str(self.folder),
            "ORIGINAL_DATASET_URL": str(self.dataset),
            "class_names": ",".join(LABELS),
            "input_shape": "352,640",
        }
        command = [sys.executable, str(ROOT / f"containers/worker/{program}.py")]
        return subprocess.run(
            command, env=given | environment, capture_output=True, text=True, timeout=500, check=False
        )


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    controller = LocalController()
    yield Node(tmp_path, controller)
    controller.close()


def evaluated(node: Node, **environment: str) -> list[dict[str, Any]]:
    done = node.run(
        "eval",
        MODEL_URLS=";".join(node.inside(f"/models/{name}/saved_model.pb") for name in ("base_model", "deploy_model")),
        TEST_DATASET_URL=node.inside(node.samples("eval", "worker_zone")),
        **environment,
    )
    assert done.returncode == 0, done.stderr
    (report,) = node.controller.taken("eval")
    assert report["status"] == "completed"
    results: list[dict[str, Any]] = report["results"]
    return results


def test_the_eval_worker_reports_what_sednas_trigger_can_read(node: Node) -> None:
    results = evaluated(node, HELMET_GATE="map50_delta >= 0", HELMET_GUARD_RECALL_DROP="1")
    assert [one["url"] for one in results] == [f"/models/{name}_model/saved_model.pb" for name in ("base", "deploy")]
    assert trigger(results, "gate[0]", ">", 0.5)
    assert trigger(results, "map50_mean[0]", ">", 0.3)
    assert trigger(results, f"precision[{LABELS.index('helmet-on')}]", ">", 0.5)
    assert not trigger(results, "precision_delta[2]", ">", 0.1), "the same model is no better than itself"
    assert not trigger(results, "precision_delta", ">", 0.1), "the seed's own form is read as 0, whatever it holds"
    assert trigger(results, "precision_delta", ">", -1.0)
    kept = json.loads((node.folder / "models/base_model/evaluation.json").read_text())
    assert kept["decision"]["accepted"]
    assert kept["models"][0]["metrics"]["labels"] == list(LABELS)
    assert (
        kept["models"][0]["sha256"]
        == ModelManifest.from_bytes((bundled_model_dir() / "manifest.json").read_bytes()).model.sha256
    )


def test_the_hub_s_form_would_stop_sednas_trigger_altogether() -> None:
    one = {"metrics": {"precision": [0.9], "labels": ["person"], "samples": 8}}
    assert not trigger([one, one], "precision[0]", ">", 0.1)


def test_a_deployed_package_is_what_is_measured_not_what_lies_beside_it(node: Node) -> None:
    slot = node.folder / "models/deploy_model/saved_model.pb"
    write_package(bundled_model_dir(), slot)
    (node.folder / "models/deploy_model/model.tflite").write_bytes(b"an older one")
    with slot.open("ab") as file:
        file.write(b"the end of a longer package" * 1000)
    results = evaluated(node)
    assert results[0]["metrics"]["precision"] == results[1]["metrics"]["precision"]
    assert "gate" not in results[0]["metrics"]


def test_a_refusing_gate_is_a_figure_of_nought() -> None:
    report: dict[str, Any] = {"precision": [0.5, None], "recall": [0.5, None], "objects": [4, 0], "predictions": [3, 0]}
    report["labels"] = ["a", "b"]
    results = [{"format": "tflite", "url": f"/x/{name}/m", "metrics": report} for name in ("new", "old")]
    found = eval_results(results, {"DATA_PATH_PREFIX": "/x", "HELMET_GATE": "precision_delta > 0.1"}, ["a", "b"], print)
    assert [one["metrics"]["gate"] for one in found] == [[0.0], [0.0]]
    assert found[0]["metrics"]["precision_mean"] == [0.5]
    assert found[0]["metrics"]["precision"] == [0.5, 0.0]
    assert all(isinstance(value, list) for value in found[0]["metrics"].values())
    assert not trigger(found, "gate[0]", ">", 0.5)


def test_a_training_has_the_two_results_that_the_next_round_needs(tmp_path: Path) -> None:
    folder = tmp_path / "output/train/1"
    shutil.copytree(bundled_model_dir(), folder)
    results = train_results(
        [{"format": "tflite", "url": str(folder), "metrics": {"loss": 1.25, "steps": 3}}],
        {"DATA_PATH_PREFIX": str(tmp_path)},
    )
    assert [one["url"] for one in results] == ["/output/train/1/model.pkg", "/output/train/1/weights.npz"]
    assert results[0]["metrics"] == {"loss": [1.25], "steps": [3.0]}
    assert input_of_round(2, "/models/base_model", results) == "/output/train/1/weights.npz"
    assert is_package(folder / "model.pkg")
    (tmp_path / "into").mkdir()
    unpack(folder / "model.pkg", tmp_path / "into")
    with pytest.raises(SednaPanic, match="one result"):
        input_of_round(2, "/models/base_model", results[:1])


@pytest.mark.parametrize(
    ("path", "host"),
    [("/home/data/output/train/1", "/output/train/1"), ("/home/database/x", "/home/database/x"), ("/srv/x", "/srv/x")],
)
def test_reports_name_paths_of_the_host(path: str, host: str) -> None:
    assert host_path(path, {"DATA_PATH_PREFIX": DATA_PATH_PREFIX}) == host


@pytest.mark.parametrize("text", ["", "map50 >", "map50 ~ 1", "map50 > much", "1 > 2"])
def test_a_gate_that_is_none_is_named(text: str) -> None:
    if not text:
        assert read_gate({"HELMET_GATE": text}) is None
        return
    with pytest.raises(Exception, match="HELMET_GATE: expected a condition"):
        read_condition(text)


def test_a_failure_is_reported_with_its_reason(node: Node) -> None:
    done = node.run("eval", MODEL_URLS="/nowhere/x", TEST_DATASET_URL=node.inside(node.samples("eval", "zone")))
    assert done.returncode == 1
    (report,) = node.controller.taken("eval")
    assert (report["status"], "no model there" in report["ownerInfo"]["reason"]) == ("failed", True)


@pytest.mark.training
@pytest.mark.timeout(400)
def test_two_rounds_of_training_on_what_sedna_hands_on(node: Node) -> None:
    picked = node.inside(node.samples("train", ""))
    base = "/models/base_model"
    for number in (1, 2):
        done = node.run(
            "train",
            BASE_MODEL_URL=node.inside(base),
            MODEL_URL=node.inside(f"/output/train/{number}"),
            TRAIN_DATASET_URL=picked,
            batch_size="8",
            HELMET_RETENTION="blend",
        )
        assert done.returncode == 0, done.stderr
        report = node.controller.taken("train")[-1]
        assert len(report["results"]) == 2
        assert Path(node.inside(report["results"][0]["url"])).is_file()
        base = input_of_round(number + 1, "/models/base_model", report["results"])
        assert Path(node.inside(base)).is_file()
    manifest = ModelManifest.from_bytes((node.folder / "output/train/2/manifest.json").read_bytes())
    first = ModelManifest.from_bytes((node.folder / "output/train/1/manifest.json").read_bytes())
    assert manifest.parent == first.model.sha256
