# SPDX-License-Identifier: Apache-2.0
"""The manifest for a real cluster: valid by Sedna's schema, the seed's names, and a trigger that can fire."""

from __future__ import annotations

import sys
from pathlib import Path
from string import Template
from typing import Any

import yaml
from sedna_local_controller import trigger

from helmet_cloud.resources.schema import check_spec
from helmet_cloud.workers.gate_parameters import read_gate
from helmet_cloud.workers.sedna_form import eval_results

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "collections"))
from ansible_collections.helmet.edge.plugins.plugin_utils.sedna_cluster import folder_problems  # noqa: E402

TREE = ["/incremental_learning", "/data/helmet_detection", "/output", "/models", "/var/lib/helmet-agent"]
VALUES = {
    "WORKER_NODE": "edge1",
    "IMAGE": "localhost/helmet-worker:latest",
    "AGENT_IMAGE": "localhost/helmet-agent:latest",
}


def manifest(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Template((ROOT / "demo" / path).read_text()).substitute(VALUES))
    return found


JOB = manifest("cluster/job.yaml")


def variables(part: str) -> dict[str, str]:
    (container,) = JOB["spec"][part]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_it_passes_sednas_schema_without_a_word() -> None:
    found = check_spec("IncrementalLearningJob", JOB["spec"])
    assert not found.problems
    assert not found.unknown


def test_it_is_the_seeds_job_with_folders_and_types_that_a_cluster_knows() -> None:
    seed = manifest("seed/job.yaml")
    assert JOB["metadata"] == seed["metadata"]
    for key in ("initialModel", "dataset", "outputDir"):
        assert JOB["spec"][key] == seed["spec"][key]
    assert folder_problems([JOB], TREE) == []
    assert folder_problems([seed], TREE) != []


def test_its_deploy_trigger_fires_where_the_seeds_never_does() -> None:
    def figures(value: float) -> dict[str, Any]:
        return {
            "precision": [value] * 4,
            "recall": [value] * 4,
            "objects": [9] * 4,
            "predictions": [9] * 4,
            "labels": variables("evalSpec")["class_names"].split(","),
        }

    gate = read_gate(variables("evalSpec"))
    assert gate is not None
    seed = manifest("seed/job.yaml")["spec"]["deploySpec"]["trigger"]["condition"]
    assert str(gate.condition) == f"{seed['metric']} {seed['operator']} {seed['threshold']:g}", "it asks the same"
    ours = JOB["spec"]["deploySpec"]["trigger"]["condition"]
    for new, fires in ((0.7, True), (0.55, False)):
        results = [{"format": "tflite", "url": "/x/m", "metrics": figures(value)} for value in (new, 0.5)]
        environment = variables("evalSpec") | {"DATA_PATH_PREFIX": "/home/data"}
        reported = eval_results(results, environment, ["a", "b"], print)
        assert trigger(reported, ours["metric"], ours["operator"], ours["threshold"]) is fires
        assert not trigger(reported, seed["metric"], seed["operator"], seed["threshold"])
