# SPDX-License-Identifier: Apache-2.0
"""Resources out of variables are the seed's; what cannot be one is refused. molecule/sedna_jobs tries a hub."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))
documents: Any = importlib.import_module("ansible_collections.helmet.edge.plugins.plugin_utils.sedna_documents")

VALUES = {"WORKER_NODE": "edge1", "IMAGE": "registry.example.com/helmet:v1"}
SEED = [ROOT / "demo" / "seed" / f"{name}.yaml" for name in ("dataset", "initial-model", "deploy-model", "job")]
CLASSES = ["person", "helmet", "helmet-on", "helmet-off"]
DATASET = {"name": "incremental-dataset", "url": "/data/helmet_detection/train_data/train_data.txt", "node": "edge1"}
MODELS = [
    {"name": "initial-model", "url": "/models/base_model", "format": "ckpt"},
    {"name": "deploy-model", "url": "/models/deploy_model/saved_model.pb", "format": "pb"},
]
JOB: dict[str, Any] = {
    "name": "helmet-detection-demo",
    "image": VALUES["IMAGE"],
    "node": "edge1",
    "initial_model": "initial-model",
    "train_share": 0.8,
    "output_dir": "/output",
    "train": {
        "parameters": {
            "batch_size": 32,
            "epochs": 1,
            "input_shape": [352, 640],
            "class_names": CLASSES,
            "nms_threshold": 0.4,
            "obj_threshold": "0.3",
        },
        "check_period_seconds": 60,
        "window": {"start": "02:00", "end": 1200},
        "condition": {"metric": "num_of_samples", "operator": ">", "threshold": 500},
    },
    "evaluate": {"parameters": {"input_shape": [352, 640], "class_names": CLASSES}},
    "deploy": {
        "model": "deploy-model",
        "condition": {"metric": "precision_delta", "operator": ">", "threshold": 0.1},
        "mining": {"name": "IBT", "parameters": {"threshold_img": 0.9, "threshold_box": 0.9}},
        "parameters": {
            "input_shape": [352, 640],
            "video_url": "file://video/video.mp4",
            "HE_SAVED_URL": "/he_saved_url",
        },
        "memory_limit": "2Gi",
        "folders": [
            {
                "name": "localvideo",
                "host": "/incremental_learning/video/",
                "path": "/video/",
                "type": "DirectoryorCreate",
            },
            {
                "name": "hedir",
                "host": "/incremental_learning/he/",
                "path": "/he_saved_url",
                "type": "DirectoryorCreate",
            },
        ],
    },
}


def seed() -> list[dict[str, Any]]:
    """The seed's manifests as YAML 1.1 reads them, its one unquoted time as what it means."""
    text = "\n---\n".join(path.read_text() for path in SEED)
    for name, value in VALUES.items():
        text = text.replace(f"${name}", value)
    read = list(yaml.safe_load_all(text))
    assert read[-1]["spec"]["trainSpec"]["trigger"]["timer"]["end"] == 1200
    read[-1]["spec"]["trainSpec"]["trigger"]["timer"]["end"] = "20:00"
    return read


def test_the_seeds_values_make_the_seeds_resources() -> None:
    assert documents.from_variables(DATASET, MODELS, JOB) == seed()


def test_the_seeds_manifests_are_the_seeds_resources() -> None:
    assert documents.from_manifests([path.read_text() for path in reversed(SEED)], VALUES) == [
        *[document for document in seed() if document["kind"] == "Dataset"],
        *reversed([document for document in seed() if document["kind"] == "Model"]),
        *[document for document in seed() if document["kind"] == "IncrementalLearningJob"],
    ]


def test_options_are_annotations_and_hot_update_is_the_models() -> None:
    job = JOB | {"options": {"replay_share": 0.3, "ring": "canary"}, "deploy": JOB["deploy"] | {"hot_update": True}}
    made = documents.from_variables({}, [], job | {"dataset": "other"})[0]
    assert made["metadata"]["annotations"] == {"helmet.edge/replay-share": "0.3", "helmet.edge/ring": "canary"}
    assert made["spec"]["deploySpec"]["model"] == {"name": "deploy-model", "hotUpdateEnabled": True}
    assert made["spec"]["dataset"]["name"] == "other"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"initial_model": ""}, r"sedna_jobs_job\.initial_model is missing"),
        (
            {"train": {"condition": {"metric": "num_of_samples"}}},
            r"sedna_jobs_job\.train\.condition\.operator is missing",
        ),
        (
            {"train": JOB["train"] | {"window": {"start": "2:00", "end": "20:00"}}},
            "window.start: expected a time of day",
        ),
        ({"deploy": JOB["deploy"] | {"mining": {}}}, r"sedna_jobs_job\.deploy\.mining is missing"),
    ],
)
def test_what_is_missing_is_named_by_its_variable(change: dict[str, Any], said: str) -> None:
    with pytest.raises(documents.DocumentError, match=said):
        documents.from_variables(DATASET, MODELS, JOB | change)


def test_a_variable_without_a_value_and_a_foreign_kind_are_refused() -> None:
    with pytest.raises(documents.DocumentError, match=r"names \$IMAGE: give IMAGE in sedna_jobs_substitutions"):
        documents.from_manifests([SEED[-1].read_text()], {"WORKER_NODE": "edge1"})
    with pytest.raises(documents.DocumentError, match="a manifest holds Pod; expected one of Dataset"):
        documents.from_manifests(["kind: Pod"], {})
    with pytest.raises(documents.DocumentError, match="is no YAML"):
        documents.from_manifests(["kind: ["], {})


@given(st.integers(min_value=0, max_value=24 * 60 - 1))
def test_a_time_of_day_survives_yaml_with_and_without_quotes(minute: int) -> None:
    text = f"{minute // 60:02d}:{minute % 60:02d}"
    for written in (text, f'"{text}"'):
        assert documents.clock(yaml.safe_load(f"at: {written}")["at"], "at") == text


def test_the_last_condition_of_a_type_counts() -> None:
    history = [{"type": "Waiting", "status": "True"}, {"type": "Running"}, {"type": "Waiting", "status": "False"}]
    assert documents.says(history, {})
    assert not documents.says([], {})
    assert documents.says(history, {"type": "Waiting", "status": False})
    assert not documents.says(history, {"type": "Waiting", "status": "True"})
    assert not documents.says(history, {"type": "ModelDeployed", "status": "True"})
