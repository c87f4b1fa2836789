# SPDX-License-Identifier: Apache-2.0
"""Patches, ages, selectors and documents, without a server."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.api.kube.openapi import group_document, index
from helmet_cloud.api.kube.patches import json_patch, merge_patch
from helmet_cloud.api.kube.selectors import label_matcher
from helmet_cloud.api.kube.table import age, table
from helmet_cloud.errors import BadRequest, HubError, TooLarge
from helmet_cloud.resources.admission import admit
from helmet_cloud.resources.kinds import MODEL
from helmet_cloud.store.resources import timestamp

PLAIN = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~0", max_size=2), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # the examples of RFC 7386
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, None, None),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_do_what_the_rfc_says(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


@given(PLAIN, PLAIN)
def test_a_merge_patch_done_twice_is_done_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [  # after the examples of RFC 6902
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": 1}], {"foo": "bar", "baz": 1}),
        ({"foo": [1, 2]}, [{"op": "add", "path": "/foo/1", "value": 9}], {"foo": [1, 9, 2]}),
        ({"foo": [1]}, [{"op": "add", "path": "/foo/-", "value": 2}], {"foo": [1, 2]}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
        ({"a": [1, 2, 3]}, [{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": {"b": 2}}], {"a": {"b": 2}}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        ({"a": [1, 2]}, [{"op": "move", "from": "/a/0", "path": "/a/1"}], {"a": [2, 1]}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
        (
            {"a/b": 1, "m~n": 2},
            [{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/m~0n"}],
            {"a/b": 1},
        ),
        ({"a": 1}, [{"op": "replace", "path": "", "value": [1]}], [1]),
    ],
)
def test_json_patches_do_what_the_rfc_says(target: Any, operations: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert json_patch(target, operations) == result
    assert target == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "remove", "path": "/none"},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/list/-1", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/b"},
        {"op": "add", "value": 1},
        {"op": "add", "path": 3, "value": 1},
        {"op": "move", "from": "/list", "path": "/list/0"},
        {"op": "jump", "path": "/a"},
        {"op": "copy", "from": None, "path": "/b"},
        {},
    ],
)
def test_operations_that_cannot_be_done_are_refused(operation: Any) -> None:
    with pytest.raises(HubError, match="operation 0 of the JSON patch"):
        json_patch({"a": 1, "list": [1]}, [operation])


def test_a_patch_cannot_grow_without_end() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": f"/a/{n}"} for n in range(64)]
    with pytest.raises(TooLarge):
        json_patch({"a": {"x": "y" * 100}}, doubling)
    with pytest.raises(TooLarge):
        json_patch({}, [{"op": "add", "path": "/a", "value": 1}] * 2000)
    with pytest.raises(BadRequest):
        json_patch({}, {"op": "add"})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (119, "119s"),
        (120, "2m"),
        (310, "5m10s"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 60, "5h1m"),
        (47 * 3600, "47h"),
        (49 * 3600, "2d1h"),
        (9 * 86400, "9d"),
        (3 * 365 * 86400, "3y"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_ages_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    now = 1_767_225_600.0
    assert age(timestamp(now - seconds), now) == text


def test_a_table_shows_a_resource_without_a_status() -> None:
    shown = table("IncrementalLearningJob", [{"metadata": {"name": "j"}, "spec": {}}], "1", 0.0, "None")
    assert shown["rows"] == [{"cells": ["j", "<none>", "<none>", "False", "<none>", "<none>", "<none>", "<none>"]}]


@given(st.dictionaries(st.sampled_from("ab"), st.sampled_from(["x", "y", ""])))
def test_selectors_and_their_opposites_share_the_world(labels: dict[str, str]) -> None:
    for one, other in (("a=x", "a!=x"), ("a", "!a"), ("a in (x,y)", "a notin (x,y)"), ("a==x", "a!=x")):
        assert label_matcher(one)(labels) is not label_matcher(other)(labels)
    assert label_matcher("")(labels)


@given(st.text("ab=!(),in ", max_size=12))
def test_any_selector_is_read_or_refused(selector: str) -> None:
    try:
        found = label_matcher(selector)
    except BadRequest:
        return
    assert found({}) in (True, False)


def test_openapi_names_kinds_and_field_validation() -> None:
    assert set(index()["paths"]) == {"api/v1", "apis/sedna.io/v1alpha1"}
    document = group_document("/openapi/v3/apis/sedna.io/v1alpha1") or {}
    post = document["paths"]["/apis/sedna.io/v1alpha1/namespaces/{namespace}/models"]["post"]
    assert post["x-kubernetes-group-version-kind"] == {"group": "sedna.io", "kind": "Model", "version": "v1alpha1"}
    assert "fieldValidation" in [each["name"] for each in post["parameters"]]
    text = json.dumps(document)
    named = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(document["components"]["schemas"])


def test_what_the_document_says_of_a_model_is_what_is_admitted() -> None:
    document = group_document("/openapi/v3/apis/sedna.io/v1alpha1") or {}
    model = {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "m"},
        "spec": {"url": "/m", "format": "pb"},
    }
    schema = {"$ref": "#/components/schemas/Model", "components": document["components"]}
    jsonschema.validate(admit(MODEL, model).document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**model, "spec": {"url": 3, "format": "pb"}}, schema)
