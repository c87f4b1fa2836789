# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.ports import JobRef
from helmet_cloud.resources.metrics import Metric, read_metric
from helmet_cloud.resources.options import JobOptions, read_options
from helmet_cloud.resources.quantity import read_bytes, read_quantity
from helmet_cloud.resources.times import clock_text, minute_of_day
from helmet_cloud.resources.views import Condition, Timer, dataset_spec, job_spec, model_spec


@given(st.integers(0, 1439))
def test_a_time_reads_the_same_as_text_and_as_base_60_number(minute: int) -> None:
    assert minute_of_day(clock_text(minute)) == minute_of_day(minute) == minute


@pytest.mark.parametrize(
    "value", ["24:00", "2:0", "12:60", "noon", 1440, -1, True, 2.5, None, "\u0660\u0662:\u0660\u0660"]
)
def test_what_is_no_time_of_day_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="time of day"):
        minute_of_day(value)


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("num_of_samples", Metric("num_of_samples")),
        ("precision_delta", Metric("precision", delta=True)),
        ("precision_delta[2]", Metric("precision", delta=True, of=2)),
        ("recall[helmet-off]", Metric("recall", of="helmet-off")),
        ("map50_delta[helmet-off]", Metric("map50", delta=True, of="helmet-off")),
    ],
)
def test_metrics_are_read_with_their_class(text: str, metric: Metric) -> None:
    assert read_metric(text) == metric
    assert str(metric) == text


@pytest.mark.parametrize("text", ["", "precision[", "precision[]", "a b", "precision[1][2]", "x" * 500 + "!"])
def test_what_is_no_metric_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        read_metric(text)


@pytest.mark.parametrize(
    ("text", "count"), [("2Gi", 2 << 30), ("1e3", 1000), ("1500m", 2), (7, 7), (".5Ki", 512), ("1.5G", 1500000000)]
)
def test_quantities_are_read_as_kubernetes_does(text: object, count: int) -> None:
    assert read_bytes(text) == count


@pytest.mark.parametrize("text", ["", "2GiB", "two", True, "1e999", "-", None])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="quantity"):
        read_quantity(text)


def test_options_are_read_and_mistakes_named() -> None:
    options, problems = read_options(
        {
            "helmet.edge/time-zone": "Europe/Berlin",
            "helmet.edge/replay-share": "0.25",
            "helmet.edge/retention": "distil+freeze",
            "helmet.edge/ring": "canary",
            "helmet.edge/seed": "7",
            "other/thing": "x",
        }
    )
    assert options == JobOptions("Europe/Berlin", 0.25, None, "distil+freeze", "canary", 7)
    assert problems == {}


def test_a_rollout_begins_with_the_canary_ring_and_nowhere_else() -> None:
    options, problems = read_options({"helmet.edge/rollout": "auto", "helmet.edge/maintenance-window": "22:00-04:30"})
    assert (options.ring, options.maintenance_window, problems) == ("canary", (1320, 270), {})
    _, problems = read_options({"helmet.edge/rollout": "approval", "helmet.edge/ring": "stable"})
    assert list(problems) == ["helmet.edge/ring"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time-zone", "../../etc/passwd"),
        ("time-zone", "Mars/Olympus"),
        ("time-zone", ""),
        ("replay-share", "nan"),
        ("replay-share", "1"),
        ("guard-recall-drop", "-0.1"),
        ("retention", "perhaps"),
        ("ring", "beta"),
        ("seed", "-1"),
        ("replay-dataset", "../x"),
        ("rollout", "perhaps"),
        ("rollout-reports", "0"),
        ("rollout-failure-share", "1"),
        ("maintenance-window", "25:00-26:00"),
        ("maintenance-window", "01:00"),
        ("approve-release", "newest"),
        ("tme-zone", "UTC"),
    ],
)
def test_options_that_cannot_be_right_are_named(name: str, value: str) -> None:
    options, problems = read_options({f"helmet.edge/{name}": value})
    assert options == JobOptions()
    assert list(problems) == [f"helmet.edge/{name}"]


def job() -> dict[str, Any]:
    return {
        "kind": "IncrementalLearningJob",
        "metadata": {
            "name": "j",
            "namespace": "n",
            "uid": "u",
            "generation": 3,
            "annotations": {"helmet.edge/time-zone": "Asia/Shanghai"},
        },
        "spec": {
            "initialModel": {"name": "i"},
            "dataset": {"name": "d", "trainProb": 0.8},
            "trainSpec": {
                "template": {
                    "spec": {
                        "nodeName": "node1",
                        "containers": [
                            {
                                "image": "x",
                                "args": ["train.py"],
                                "env": [
                                    {"name": "epochs", "value": "1"},
                                    {"name": "secret", "valueFrom": {"secretKeyRef": {"key": "k"}}},
                                ],
                            }
                        ],
                    }
                },
                "trigger": {
                    "checkPeriodSeconds": 60,
                    "timer": {"start": "02:00", "end": 1200},
                    "condition": {"operator": ">", "threshold": 500, "metric": "num_of_samples"},
                },
            },
            "evalSpec": {"template": {}},
            "deploySpec": {
                "model": {"name": "m"},
                "trigger": {"condition": {"operator": ">=", "threshold": 0.1, "metric": "precision_delta[1]"}},
                "hardExampleMining": {"name": "IBT", "parameters": [{"key": "threshold_img", "value": "0.9"}]},
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "resources": {"limits": {"memory": "2Gi"}},
                                "volumeMounts": [
                                    {"name": "v", "mountPath": "/video/"},
                                    {"name": "cm", "mountPath": "/x"},
                                ],
                            }
                        ],
                        "volumes": [{"name": "v", "hostPath": {"path": "/on/host"}}, {"name": "cm", "emptyDir": {}}],
                    }
                },
            },
            "outputDir": "/output",
        },
    }


def test_a_job_is_read_whole() -> None:
    found = job_spec(job())
    assert (found.job, found.uid, found.generation) == (JobRef("n", "j"), "u", 3)
    assert (found.dataset, found.train_probability, found.eval_model, found.deploy_model) == ("d", 0.8, None, "m")
    assert (found.hot_update, found.poll_seconds) == (False, 60)
    assert found.train_trigger.timer == Timer(120, 1200, "Asia/Shanghai")
    assert str(found.train_trigger.timer) == "02:00-20:00 Asia/Shanghai"
    assert found.train_trigger.check_seconds == 60
    assert found.deploy_trigger.condition == Condition(Metric("precision", delta=True, of=1), "ge", 0.1)
    assert found.deploy_trigger.timer is None
    assert found.train.parameters == {"epochs": "1"}
    assert (found.train.node, found.train.args, found.train.image) == ("node1", ("train.py",), "x")
    assert found.inference.memory_bytes == 2 << 30
    assert found.inference.mounts == {"/video/": "/on/host"}
    assert found.mining.parameters == {"threshold_img": "0.9"}
    assert found.evaluation.parameters == {}


def test_data_sets_and_models_are_read() -> None:
    meta = {"name": "x", "namespace": "n", "uid": "u"}
    found = dataset_spec({"metadata": meta, "spec": {"url": "/d.txt", "format": "txt", "nodeName": "node1"}})
    assert (found.name, found.url, found.format, found.node) == ("x", "/d.txt", "txt", "node1")
    model = model_spec({"metadata": meta, "spec": {"url": "/m", "format": "pb"}})
    assert (model.namespace, model.name, model.url, model.format) == ("n", "x", "/m", "pb")
