# SPDX-License-Identifier: Apache-2.0
"""Manifests and example records: what is written reads back, and nothing else is let in."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import (
    ContractError,
    Detection,
    ExampleRecord,
    FileReference,
    GoldenBox,
    GoldenFrame,
    HardExample,
    MiningRule,
    ModelManifest,
    Thresholds,
)
from helmet_agent.contract.manifest import MAX_MANIFEST_BYTES
from helmet_agent.testing import LABELS, example_manifest

DIGEST = "0123456789abcdef" * 4

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
digests = st.binary(max_size=8).map(lambda data: hashlib.sha256(data).hexdigest())
shares = st.floats(0, 1)
edges = st.floats(0, 5000)
boxes = st.tuples(edges, edges, edges, edges)
references = st.builds(FileReference, names, digests, st.integers(1, 1 << 20))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
manifests = st.builds(
    example_manifest,
    name=st.text(min_size=1, max_size=20),
    release=st.integers(0, 1 << 53),
    model=references,
    thresholds=st.builds(Thresholds, st.fixed_dictionaries(dict.fromkeys(LABELS, shares)), shares),
    mining=st.builds(MiningRule, st.text(min_size=1), st.dictionaries(st.text(min_size=1), st.text(min_size=1))),
    golden=st.lists(
        st.builds(
            GoldenFrame,
            references,
            st.lists(st.builds(GoldenBox, st.sampled_from(LABELS), boxes), max_size=3).map(tuple),
            shares,
            shares,
        ),
        max_size=2,
    ).map(tuple),
    memory_bytes=st.integers(1, 1 << 50),
    parent=st.none() | digests,
    dataset=st.none() | digests,
)


@given(manifests)
@settings(deadline=None)
def test_a_manifest_reads_back_as_it_was_written(manifest: ModelManifest) -> None:
    assert ModelManifest.from_bytes(manifest.to_bytes()) == manifest


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None)
def test_no_bytes_raise_anything_but_a_contract_error(content: bytes) -> None:
    with pytest.raises(ContractError):
        ModelManifest.from_bytes(content)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        return found + [p for key in value for p in paths(value[key], (*path, key))]
    if isinstance(value, list):
        return found + [p for index, item in enumerate(value) for p in paths(item, (*path, index))]
    return found


def full_document() -> dict[str, Any]:
    golden = GoldenFrame(FileReference("golden.jpg", DIGEST, 5), (GoldenBox("person", (1.0, 2.0, 3.0, 4.0)),))
    document: dict[str, Any] = example_manifest(golden=(golden,), parent=DIGEST, dataset=DIGEST).to_json()
    return document


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_a_field_of_another_kind_is_refused_or_carried_faithfully(data: st.DataObject) -> None:
    document = full_document()
    *parents, last = data.draw(st.sampled_from(paths(document)))
    changed = copy.deepcopy(document)
    place: Any = changed
    for key in parents:
        place = place[key]
    place[last] = data.draw(json_values)
    try:
        read = ModelManifest.from_json(changed)
    except ContractError:
        return
    assert ModelManifest.from_json(json.loads(read.to_bytes())) == read


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in paths(full_document())
        # A free-form object, and labels as keys, take any key.
        if isinstance(path[-1], str) and not (path[0] in ("report", "thresholds") and len(path) > 2)
    ],
)
def test_an_unknown_key_beside_any_other_is_refused(path: tuple[Any, ...]) -> None:
    document = full_document()
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place["surprise"] = 1
    with pytest.raises(ContractError, match=r"surprise|score"):
        ModelManifest.from_json(document)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"schema": 2}, "schema"),
        ({"labels": []}, "labels"),
        ({"labels": ["person", "person"]}, "labels"),
        ({"thresholds": {"score": {"person": 0.5}, "nms_iou": 0.4}}, "thresholds.score"),
        ({"input": {"height": 350, "width": 640}}, "input"),
        ({"model": {"name": "../model.tflite", "sha256": DIGEST, "size_bytes": 1}}, "model.name"),
        ({"model": {"name": "model.tflite", "sha256": DIGEST.upper(), "size_bytes": 1}}, "model.sha256"),
        ({"model": {"name": "model.tflite", "sha256": DIGEST, "size_bytes": 10_000_000_000}}, "model.size_bytes"),
        ({"release": True}, "release"),
        ({"outputs": {"layout": "anchors", "strides": [8], "class_logit_offset": 0}}, "outputs.layout"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ContractError) as refused:
        ModelManifest.from_json({**full_document(), **change})
    assert str(refused.value).startswith(place)


def test_a_manifest_that_is_too_large_is_not_even_parsed() -> None:
    with pytest.raises(ContractError, match="the limit is"):
        ModelManifest.from_bytes(b"[" * (MAX_MANIFEST_BYTES + 1))


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(ContractError):
        ModelManifest.from_bytes(b"[" * 100_000)


records = st.builds(
    ExampleRecord,
    sha256=digests,
    node=st.text(min_size=1),
    source=st.text(min_size=1),
    frame=st.integers(0, 1 << 62),
    time_seconds=st.floats(0, 4e9),
    width=st.integers(1, 1 << 16),
    height=st.integers(1, 1 << 16),
    model=digests,
    rule=st.text(min_size=1),
    value=st.floats(-1e9, 1e9),
    detections=st.just(()),
)


@given(records)
@settings(deadline=None)
def test_a_record_reads_back_as_it_was_written(record: ExampleRecord) -> None:
    assert ExampleRecord.from_json(json.loads(record.to_bytes())) == record


@given(json_values)
@settings(deadline=None)
def test_no_value_is_mistaken_for_a_record(value: Any) -> None:
    with pytest.raises(ContractError):
        ExampleRecord.from_json(value)


@given(st.sampled_from(LABELS), shares, st.tuples(edges, edges, edges, edges))
@settings(deadline=None)
def test_a_detections_wire_form_is_rounded_once(
    label: str, score: float, box: tuple[float, float, float, float]
) -> None:
    wire = Detection(label, score, box).to_json()
    assert math.isclose(wire["score"], score, abs_tol=5e-5 + 1e-12)
    assert all(math.isclose(a, b, abs_tol=0.05 + 1e-9) for a, b in zip(wire["box"], box, strict=True))


def test_an_example_whose_digest_is_not_its_pictures_is_refused() -> None:
    record = ExampleRecord(DIGEST, "n", "s", 0, 1.0, 1, 1, DIGEST, "IBT", 0.5, ())
    with pytest.raises(ContractError, match="does not belong"):
        HardExample(b"jpeg", record)
