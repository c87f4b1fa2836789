# SPDX-License-Identifier: Apache-2.0
"""The schemas are Sedna's: same structure, and what passes ours passes the CRDs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml

from helmet_cloud.resources.fields import SPECS, STATUSES
from helmet_cloud.resources.schema import Checked, check_spec, check_status, resolved

CRDS = Path(__file__).resolve().parents[4] / "shared" / "reference" / "crds"
FILES = {
    "Dataset": "sedna.io_datasets.yaml",
    "Model": "sedna.io_models.yaml",
    "IncrementalLearningJob": "sedna.io_incrementallearningjobs.yaml",
}
needs_crds = pytest.mark.skipif(not CRDS.is_dir(), reason=f"Sedna's published CRDs are not at {CRDS}")


@functools.cache
def crd(kind: str) -> Any:
    document = yaml.load((CRDS / FILES[kind]).read_text(), Loader=yaml.CSafeLoader)
    return document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


def structure(schema: Any) -> Any:
    """A schema without descriptions and references."""
    schema = resolved(schema)
    found = {key: value for key, value in schema.items() if key != "description"}
    if "properties" in schema:
        found["properties"] = {name: structure(each) for name, each in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found[key] = structure(schema[key])
    if "required" in found:
        found["required"] = sorted(found["required"])
    return found


@needs_crds
@pytest.mark.parametrize("kind", FILES)
def test_the_schemas_have_the_structure_of_sednas_crds(kind: str) -> None:
    assert structure(SPECS[kind]) == structure(crd(kind)["spec"])
    assert structure(STATUSES[kind]) == structure(crd(kind)["status"])


def explained(schema: Any) -> bool:
    own = "description" in schema and schema["description"].endswith(".")
    inner = list(schema.get("properties", {}).values()) + (
        [schema["items"]] if "properties" in schema.get("items", {}) else []
    )
    return own and all(explained(each) for each in inner)


@pytest.mark.parametrize("kind", FILES)
def test_every_field_of_ours_is_explained(kind: str) -> None:
    assert explained(SPECS[kind])
    assert explained(STATUSES[kind])


def test_faults_are_named_by_their_full_path() -> None:
    found = Checked(
        SPECS["IncrementalLearningJob"],
        {
            "dataset": {"name": 3, "trainProb": "0.8"},
            "initialModel": [],
            "evalSpec": {},
            "trainSpec": {
                "template": {"spec": {"containers": [{"env": [{"name": "a"}, {"name": "a"}, {"nam": "b"}]}]}},
                "trigger": {"condition": {"operator": ">", "threshold": True, "metric": "x"}},
            },
            "outputDir": None,
        },
        "spec",
    )
    assert [f"{each.field} {each.reason}" for each in found.problems] == [
        "spec.dataset.name FieldValueTypeInvalid",
        "spec.dataset.trainProb FieldValueTypeInvalid",
        "spec.initialModel FieldValueTypeInvalid",
        "spec.evalSpec.template FieldValueRequired",
        "spec.trainSpec.template.spec.containers[0].env[2].name FieldValueRequired",
        "spec.trainSpec.template.spec.containers[0].env[1] FieldValueDuplicate",
        "spec.trainSpec.template.spec.containers[0].name FieldValueRequired",
        "spec.trainSpec.trigger.condition.threshold FieldValueTypeInvalid",
        "spec.deploySpec FieldValueRequired",
        "spec.outputDir FieldValueRequired",
    ]
    assert found.unknown == [
        'unknown field "spec.trainSpec.template.spec.containers[0].env[2].nam"; did you mean name?'
    ]


def test_unknown_fields_and_nulls_are_left_out_and_defaults_put_in() -> None:
    model = SPECS["IncrementalLearningJob"]["properties"]["deploySpec"]["properties"]["model"]
    found = Checked(model, {"name": "m", "hotUpdateEnabled": None, "color": "red"}, "model")
    assert found.value == {"name": "m", "pollPeriodSeconds": 60}
    assert found.problems == []
    assert found.unknown == ['unknown field "model.color"']


@pytest.mark.parametrize("value", [0, 1 << 63, True, 1.5, float("nan"), "60", [], {}])
def test_a_poll_period_that_cannot_be_right_is_refused(value: object) -> None:
    model = SPECS["IncrementalLearningJob"]["properties"]["deploySpec"]["properties"]["model"]
    (problem,) = Checked(model, {"name": "m", "pollPeriodSeconds": value}, "model").problems
    assert problem.field == "model.pollPeriodSeconds"


@pytest.mark.parametrize(("limit", "good"), [("2Gi", True), (3, True), ("two", False), (1.5, False), (None, True)])
def test_limits_are_quantities(limit: object, good: bool) -> None:
    job = SPECS["IncrementalLearningJob"]["properties"]["evalSpec"]["properties"]["template"]
    value = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": limit}}}]}}
    problems = [each.field for each in Checked(job, value, "template").problems]
    assert problems == ([] if good else ["template.spec.containers[0].resources.limits[memory]"])


def test_statuses_are_checked() -> None:
    good = {"updateTime": "2026-01-31T02:00:00Z", "metrics": [{"key": "a", "value": "b"}]}
    assert check_status("Model", good).problems == []
    assert [each.field for each in check_status("Model", {"updateTime": "today"}).problems] == ["status.updateTime"]
    assert check_spec("Model", "x").problems[0].field == "spec"
