# SPDX-License-Identifier: Apache-2.0
"""A model that Sedna's workers trained reaches a node outside the cluster: the command, the gate, real TUF."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.contract import ModelManifest
from helmet_cloud.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_cloud.settings import HubHome

JOB = "default/helmet-detection-demo"
LABELS = ["helmet-on", "helmet-off"]


def figures(precision: float, recall: float = 0.8, guarded: float = 0.9) -> dict[str, Any]:
    return {
        "precision": [precision, precision],
        "recall": [recall, recall],
        "objects": [10, 10],
        "predictions": [9, 9],
        "labels": LABELS,
        "samples": 20,
        "regression": {"recall": [guarded, guarded], "objects": [5, 5], "predictions": [5, 5]},
    }


class Output:
    """A job's output folder, as our workers leave it under Sedna."""

    def __init__(self, folder: Path, make_model: Callable[..., Path], home: HubHome) -> None:
        self.folder, self.make_model, self.home = folder, make_model, home

    def round(self, number: int, new: dict[str, Any], old: dict[str, Any] | None = None, measured: str = "") -> str:
        folder = self.make_model(self.folder / "train" / str(number), f"round {number}")
        sha256 = ModelManifest.from_bytes((folder / "manifest.json").read_bytes()).model.sha256
        models = [
            {"url": "x", "metrics": new, "sha256": measured or sha256},
            {"url": "y", "metrics": old or figures(0.5)},
        ]
        (folder / "evaluation.json").write_text(json.dumps({"models": models}))
        return sha256

    def publish(self, *more: str) -> int:
        return main(
            ["models", "import-sedna", str(self.folder), "--job", JOB, "--data-dir", str(self.home.folder), *more]
        )


@pytest.fixture
def output(tmp_path: Path, make_model: Callable[..., Path], home: HubHome) -> Output:
    return Output(tmp_path / "output", make_model, home)


def test_what_passes_the_gate_reaches_a_node_by_tuf(output: Output, node: Any, capsys: Any) -> None:
    assert output.publish() == 0
    assert "no round that was trained and evaluated yet" in capsys.readouterr().out
    sha256 = output.round(1, figures(0.7))
    assert output.publish("--condition", "precision_delta > 0.1") == 0
    assert f"release 1 is {sha256}" in capsys.readouterr().out
    manifest = node.look()
    assert manifest is not None
    assert (manifest.model.sha256, manifest.delivery.job) == (sha256, JOB)
    assert manifest.report["metric"]["value"] == pytest.approx(0.2)


def test_what_does_not_pass_does_not_go_out(output: Output, node: Any, capsys: Any) -> None:
    output.round(1, figures(0.55))
    assert output.publish("--condition", "precision_delta > 0.1") == 1
    output.round(2, figures(0.9, guarded=0.5))
    assert output.publish("--condition", "precision_delta > 0.1") == 1
    assert "recall falls on the regression set" in capsys.readouterr().out
    assert node.look() is None
    assert output.publish("--condition", "precision_delta > 0.1", "--guard-recall-drop", "1") == 0
    assert node.look() is not None


def test_a_second_look_publishes_nothing_and_an_operator_who_went_back_is_left_alone(
    output: Output, node: Any, capsys: Any
) -> None:
    first = output.round(1, figures(0.7))
    assert output.publish("--condition", "precision_delta > 0.1") == 0
    output.round(2, figures(0.9))
    assert output.publish("--condition", "precision_delta > 0.1") == 0
    data = str(output.home.folder)
    assert main(["models", "publish", first[:16], "--job", JOB, "--data-dir", data]) == 0
    assert output.publish("--condition", "precision_delta > 0.1") == 0
    assert "was published before" in capsys.readouterr().out
    assert node.look().model.sha256 == first


def test_only_what_was_measured_goes_out(output: Output, node: Any, capsys: Any) -> None:
    output.round(1, figures(0.9), measured="0" * 64)
    assert output.publish() == 1
    assert "measured another model" in capsys.readouterr().err
    shutil.rmtree(output.folder)
    output.round(1, figures(0.9))
    (output.folder / "train/1/model.tflite").write_bytes(b"TFL3 other")
    assert output.publish() == 1
    (output.folder / "train/1/evaluation.json").write_text('{"models": [{}]}')
    assert output.publish() == 1
    assert node.look() is None


def test_a_condition_that_is_none_is_named(output: Output, capsys: Any) -> None:
    assert output.publish("--condition", "precision_delta") == 2
    assert "--condition: expected a condition" in capsys.readouterr().err
