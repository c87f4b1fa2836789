# SPDX-License-Identifier: Apache-2.0
"""The role sedna_jobs against a cluster's API: what the hub's own face does not serve."""

from __future__ import annotations

import base64
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cluster_api import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))
parts: Any = importlib.import_module("ansible_collections.helmet.edge.plugins.plugin_utils.sedna_cluster")
documents: Any = importlib.import_module("ansible_collections.helmet.edge.plugins.plugin_utils.sedna_documents")
PASSWORD = "hunter2-is-in-no-log"  # noqa: S105 - what must not be printed
SEED = [ROOT / "demo/seed" / f"{name}.yaml" for name in ("dataset", "initial-model", "deploy-model", "job")]
VALUES = {"WORKER_NODE": "edge1", "IMAGE": "registry.example.com/helmet:v1"}
TREE = ["/incremental_learning/video", "/incremental_learning/he", "/data/helmet_detection", "/output", "/models"]
VARIABLES: dict[str, Any] = {
    "sedna_jobs_namespace": "helmet",
    "sedna_jobs_create_namespace": True,
    "sedna_jobs_wait_seconds": 0,
    "sedna_jobs_pull_secrets": [
        {"name": "registry", "registry": "registry.example.com", "username": "puller", "password": PASSWORD}
    ],
    "sedna_jobs_node_directories": TREE,
    "sedna_jobs_dataset": {"name": "d", "url": "/data/helmet_detection/train_data.txt", "node": "edge1"},
    "sedna_jobs_models": [{"name": "m", "url": "/models/base_model", "format": "ckpt"}],
    "sedna_jobs_job": {
        "name": "demo",
        "image": "registry.example.com/helmet:v1",
        "pull_secrets": ["registry"],
        "node_selector": {"kubernetes.io/hostname": "edge1", "gpu": False},
        "run_as_user": 10001,
        "initial_model": "m",
        "train_share": 0.8,
        "output_dir": "/output",
        "train": {"condition": {"metric": "num_of_samples", "operator": ">", "threshold": 5}},
        "deploy": {
            "model": "m",
            "condition": {"metric": "gate[0]", "operator": ">", "threshold": 0.5},
            "mining": {"name": "IBT"},
            "folders": [{"name": "he", "host": "/incremental_learning/he", "path": "/he"}],
        },
    },
}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    yield found
    found.close()


def run(cluster: Cluster, folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    kubeconfig, variables = folder / "kubeconfig", folder / "vars.json"
    kubeconfig.write_text(cluster.kubeconfig())
    variables.write_text(json.dumps(VARIABLES | {"sedna_jobs_kubeconfig": str(kubeconfig)} | more))
    program = str(Path(sys.executable).parent / "ansible-playbook")
    return subprocess.run(
        [program, "playbooks/deploy-jobs.yml", "-e", f"@{variables}"],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_it_makes_all_changes_nothing_twice_and_takes_it_all_away(cluster: Cluster, tmp_path: Path) -> None:
    first = run(cluster, tmp_path)
    assert first.returncode == 0, first.stdout
    made = ["namespaces/helmet", "secrets/registry", "datasets/d", "models/m", "incrementallearningjobs/demo"]
    assert cluster.names() == {"namespaces/default", *made}
    assert [f"{plural}/{name}" for method, plural, name in cluster.calls if method == "POST"] == made, "in this order"
    secret = cluster.objects["secrets", "helmet", "registry"]
    auths = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
    assert base64.b64decode(auths["registry.example.com"]["auth"]).decode() == f"puller:{PASSWORD}"
    template = cluster.objects["incrementallearningjobs", "helmet", "demo"]["spec"]["evalSpec"]["template"]["spec"]
    assert template["imagePullSecrets"] == [{"name": "registry"}]
    assert template["nodeSelector"] == {"kubernetes.io/hostname": "edge1", "gpu": "false"}
    assert template["securityContext"] == {"runAsUser": 10001}
    cluster.calls.clear()
    second = run(cluster, tmp_path)
    assert "changed=0" in second.stdout
    assert cluster.calls == []
    gone = run(cluster, tmp_path, sedna_jobs_state="absent", sedna_jobs_wait_seconds=10)
    assert gone.returncode == 0, gone.stdout
    assert cluster.names() == {"namespaces/default"}
    assert [f"{plural}/{name}" for _, plural, name in cluster.calls] == list(reversed(made))
    for done in (first, second, gone):
        assert PASSWORD not in done.stdout + done.stderr
        assert secret["data"][".dockerconfigjson"] not in done.stdout + done.stderr


def test_a_namespace_of_somebody_else_is_never_deleted(cluster: Cluster, tmp_path: Path) -> None:
    theirs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "helmet"}}
    cluster.answer("POST", "/api/v1/namespaces", theirs)
    done = run(cluster, tmp_path, sedna_jobs_state="absent")
    assert done.returncode == 2
    assert "helmet is there and was not made by this role" in done.stdout
    assert "namespaces/helmet" in cluster.names()


def test_folders_that_no_node_has_are_named_before_anything_is_sent(cluster: Cluster, tmp_path: Path) -> None:
    done = run(cluster, tmp_path, sedna_jobs_node_directories=["/models", "/output"])
    assert done.returncode == 2
    assert "Dataset d: url: /data/helmet_detection/train_data.txt lies in no directory of the nodes" in done.stdout
    assert "deploySpec: volume he: /incremental_learning/he lies in no directory" in done.stdout
    assert cluster.calls == []


def test_the_seed_s_wrong_type_is_told_and_its_folders_are_edge_nodes() -> None:
    seed = documents.from_manifests([path.read_text() for path in SEED], VALUES)
    assert parts.folder_problems(seed, TREE) == [
        f"IncrementalLearningJob helmet-detection-demo: deploySpec: volume {name}: Kubernetes knows no hostPath type "
        "DirectoryorCreate; write DirectoryOrCreate"
        for name in ("localvideo", "hedir")
    ]
    assert parts.folder_problems(seed, []) == []
    tree = yaml.safe_load((ROOT / "roles/edge_node/vars/main.yml").read_text())["__edge_node_data_directories"]
    assert [path.replace("{{ __edge_node_prefix }}", "") for path in tree if "/var/lib" not in path] == TREE


@pytest.mark.parametrize("path", ["relative", "/models/../etc", "/modelsx", "/"])
def test_paths_that_only_look_right_are_wrong(path: str) -> None:
    model = {"kind": "Model", "metadata": {"name": "m"}, "spec": {"url": path}}
    assert len(parts.folder_problems([model], TREE)) == 1


def test_a_secret_that_lacks_something_is_named_without_its_value() -> None:
    with pytest.raises(ValueError, match=r"sedna_jobs_pull_secrets\[0\]\.username is missing") as caught:
        parts.surroundings("x", [{"name": "a", "registry": "r", "password": PASSWORD}], with_namespace=False)
    assert PASSWORD not in str(caught.value)
