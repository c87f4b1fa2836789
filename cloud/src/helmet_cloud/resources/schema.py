# SPDX-License-Identifier: Apache-2.0
"""Structural schemas as clusters use them: types, required fields, unknown fields, lists with keys, defaults."""

from __future__ import annotations

import copy
import difflib
import functools
import json
import math
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from helmet_cloud.resources.fields import POD_ABOUT, POD_TEMPLATE, SPECS, STATUSES
from helmet_cloud.resources.problems import MAX_PROBLEMS, duplicate, invalid, required, wrong_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_cloud.resources.fields import Schema
    from helmet_cloud.resources.problems import Problem

_REFERENCE = "#/components/schemas/"
_WIDTH = {"int32": 31, "int64": 63}
# RFC 3339, as Kubernetes writes times; the calendar is not looked at.
_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})\Z", re.ASCII)


@functools.cache
def definitions() -> dict[str, Schema]:
    """Named schemas: the pod template and what it is made of; structure from Sedna's CRD, see the file's notice."""
    source = resources.files("helmet_cloud") / "assets" / "resources" / "pod-template.json"
    document = json.loads(source.read_text(encoding="utf-8"))
    found: dict[str, Schema] = {POD_TEMPLATE: document["root"], **document["definitions"]}
    for name, texts in POD_ABOUT.items():
        for field, text in texts.items():
            schema = found[name]["properties"][field]
            if "$ref" in schema:
                found[name]["properties"][field] = {"description": text, "allOf": [schema]}
            else:
                schema["description"] = text
    return found


class Checked:
    """A value held against a schema.

    Attributes:
        value: a copy without nulls and unknown fields, with defaults, as a cluster keeps it.
        problems: what is wrong with it.
        unknown: paths of fields that the schema does not have, each with what was perhaps meant.
    """

    def __init__(self, schema: Schema, value: object, path: str) -> None:
        self.problems: list[Problem] = []
        self.unknown: list[str] = []
        self.value: Any = self._check(schema, value, path)

    def _check(self, schema: Schema, value: object, path: str) -> Any:
        schema = resolved(schema)
        if len(self.problems) >= MAX_PROBLEMS:
            return value
        if schema.get("x-kubernetes-int-or-string"):
            return self._int_or_string(schema, value, path)
        expected = schema["type"]
        if not _IS[expected](value):
            self.problems.append(wrong_type(path, value, expected))
            return value
        if isinstance(value, dict):
            return self._object(schema, value, path)
        if isinstance(value, list):
            return self._list(schema, value, path)
        self._limits(schema, value, path)
        return value

    def _object(self, schema: Schema, value: dict[str, Any], path: str) -> dict[str, Any]:
        given = {key: each for key, each in value.items() if each is not None}
        others = schema.get("additionalProperties")
        if others is not None:
            return {key: self._check(others, each, f"{path}[{key}]") for key, each in given.items()}
        fields = schema.get("properties", {})
        found = {}
        for key, each in given.items():
            if key in fields:
                found[key] = self._check(fields[key], each, f"{path}.{key}")
            elif len(self.unknown) < MAX_PROBLEMS:
                self.unknown.append(f'unknown field "{path}.{key[:100]}"{meant(key, fields)}')
        for key, each in fields.items():
            if key not in found and "default" in each:
                found[key] = copy.deepcopy(each["default"])
        self.problems += [required(f"{path}.{key}") for key in schema.get("required", ()) if key not in found]
        return found

    def _list(self, schema: Schema, value: list[Any], path: str) -> list[Any]:
        found = [self._check(schema["items"], each, f"{path}[{index}]") for index, each in enumerate(value)]
        keys = schema.get("x-kubernetes-list-map-keys", ())
        seen = set()
        for index, each in enumerate(found if keys else ()):
            if not isinstance(each, dict):
                continue
            own = tuple(str(each.get(key)) for key in keys)
            if own in seen:
                self.problems.append(duplicate(f"{path}[{index}]", {key: each.get(key) for key in keys}))
            seen.add(own)
        return found

    def _int_or_string(self, schema: Schema, value: object, path: str) -> Any:
        if not _IS["integer"](value) and not isinstance(value, str):
            self.problems.append(wrong_type(path, value, "integer or string"))
        elif isinstance(value, str) and "pattern" in schema and not re.match(schema["pattern"], value[:100]):
            self.problems.append(invalid(path, value, "expected a quantity such as 2Gi, 500m or 1"))
        return value

    def _limits(self, schema: Schema, value: object, path: str) -> None:
        if isinstance(value, bool):
            return
        if isinstance(value, int | float) and value < schema.get("minimum", -math.inf):
            self.problems.append(invalid(path, value, f"expected at least {schema['minimum']}"))
        kind = schema.get("format", "int64" if schema["type"] == "integer" else "")
        if isinstance(value, int) and kind in _WIDTH and not -(1 << _WIDTH[kind]) <= value < 1 << _WIDTH[kind]:
            self.problems.append(invalid(path, value, f"does not fit {kind}"))
        if kind == "date-time" and not _DATE_TIME.match(str(value)):
            self.problems.append(invalid(path, value, "expected a time such as 2026-01-31T02:00:00Z"))


def resolved(schema: Schema) -> Schema:
    """The schema that a reference means."""
    if "allOf" in schema:
        schema = schema["allOf"][0]
    if "$ref" in schema:
        return definitions()[schema["$ref"].removeprefix(_REFERENCE)]
    return schema


def check_spec(kind: str, spec: object) -> Checked:
    """Holds a kind's spec against its schema."""
    return Checked(SPECS[kind], spec, "spec")


def check_status(kind: str, status: object) -> Checked:
    """Holds a kind's status against its schema."""
    return Checked(STATUSES[kind], status, "status")


def meant(name: str, known: Any) -> str:
    """The end of a message about an unknown name."""
    close = difflib.get_close_matches(name[:100], list(known), 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_IS: dict[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _whole,
    "number": lambda value: _whole(value) or (isinstance(value, float) and math.isfinite(value)),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
