# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.errors import BadRequest
from helmet_cloud.resources.reading import MAX_DEPTH, read_json, read_yaml, read_yaml_stream

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 60), 1 << 60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_json_reads_back_what_was_written(value: Any) -> None:
    assert read_json(json.dumps(value).encode()).value == value


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_yaml_reads_back_what_was_written(value: Any) -> None:
    assert read_yaml(yaml.safe_dump(value, allow_unicode=True).encode()).value == value


@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (read_json, read_yaml_stream):
        try:
            found = read(body)
        except BadRequest:
            continue
        assert found is not None


def test_yaml_is_read_as_ansible_reads_it() -> None:
    found = read_yaml(b"a: 20:00\nb: 02:00\nc: yes\nd: 2026-01-01\ne: '1'\nf: ~\n1: x\non: y\ng: 0x10\nh: 1.5\n").value
    assert found == {
        "a": 1200,
        "b": "02:00",
        "c": True,
        "d": "2026-01-01",
        "e": "1",
        "f": None,
        "1": "x",
        "true": "y",
        "g": 16,
        "h": 1.5,
    }


def test_documents_of_a_stream_know_their_lines() -> None:
    found = read_yaml_stream(b"# one\na: 1\n---\n# nothing\n---\nb: 2\n")
    assert [(each.value, each.line) for each in found] == [({"a": 1}, 2), ({"b": 2}, 6)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nb: *x", "line 2: aliases"),
        ("a: !!python/object:os.system x", "line 1: tags"),
        ("a: !!map {}", "line 1: tags"),
        ("<<: {a: 1}", "line 1: merge keys"),
        ("{a: 1", "no YAML"),
        ("[a]: 1", "line 1: a field's name"),
        ("{a: " * 100, "deep"),
        ("[" * 100_000, "deep"),
        ("a: 0b" + "1" * 20_000, "64 bits"),
        ("a: " + "5:" * 60 + "5", "64 bits"),
        ("a: " + "9" * 5_000, "line 1: a number"),
        ("a: 1\n---\nb: 2", "found 2"),
        ("", "found 0"),
        ('a: "\\ud800"', "surrogate|no YAML"),
    ],
)
def test_what_manifests_do_not_need_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read_yaml(text.encode())


def test_doubled_fields_are_named_by_path() -> None:
    found = read_yaml(b"a: {b: 1, b: 2}\nc: [{d: 1, d: 2}]\na: 3\n")
    assert found.duplicates == ('duplicate field "a.b"', 'duplicate field "c[0].d"', 'duplicate field "a"')
    again = read_json(b'{"a": {"b": 1, "b": 2}, "c": [{"d": 1, "d": 2}]}')
    assert sorted(again.duplicates) == ['duplicate field "a.b"', 'duplicate field "c[0].d"']


def test_depth_is_bounded_alike_for_both() -> None:
    for depth, good in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False)):
        body = b"[" * depth + b"]" * depth
        for read in (read_json, read_yaml):
            if good:
                assert read(body).value is not None
            else:
                with pytest.raises(BadRequest, match="deep"):
                    read(body)
