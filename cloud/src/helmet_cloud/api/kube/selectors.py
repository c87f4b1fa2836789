# SPDX-License-Identifier: Apache-2.0
"""Label and field selectors of lists and watches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from helmet_cloud.errors import BadRequest
from helmet_cloud.resources.kinds import EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Matcher = "Callable[[Mapping[str, Any]], bool]"

MAX_SELECTOR = 4096
_KEY = r"(?:[A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9][-A-Za-z0-9_.]{0,62}"
_VALUE = r"[-A-Za-z0-9_.]{0,63}"
_REQUIREMENT = re.compile(
    rf"\s*(?:(?P<not>!)\s*(?P<absent>{_KEY})"
    rf"|(?P<key>{_KEY})\s*(?:(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})"
    rf"|\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|\Z)"
)
_FIELDS = ("metadata.name", "metadata.namespace")
_EVENT_FIELDS = (
    *_FIELDS,
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.fieldPath",
    "reason",
    "type",
)


def label_matcher(selector: str) -> Callable[[Mapping[str, str]], bool]:
    """Whether labels fit a selector such as ``a=b,c!=d,e in (f,g),!h``.

    Raises:
        BadRequest: it is no selector.
    """
    tests: list[Callable[[Mapping[str, str]], bool]] = []
    position = 0
    if len(selector) > MAX_SELECTOR:
        raise BadRequest(f"a label selector has at most {MAX_SELECTOR} characters")
    while position < len(selector):
        match = _REQUIREMENT.match(selector, position)
        if match is None or match.end() == position:
            raise BadRequest(f"unable to parse the label selector at {selector[position : position + 40]!r}")
        tests.append(_label_test(match))
        position = match.end()
    return lambda labels: all(test(labels) for test in tests)


def _label_test(match: re.Match[str]) -> Callable[[Mapping[str, str]], bool]:
    absent, key, operator, value = match["absent"], match["key"], match["operator"], match["value"]
    if match["not"]:
        return lambda labels: absent not in labels
    if match["set"]:
        values = {each.strip() for each in match["values"].split(",")}
        if match["set"] == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: key not in labels or labels[key] not in values
    if operator is None:
        return lambda labels: key in labels
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def field_matcher(kind: str, selector: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a resource fits a selector such as ``metadata.name=demo``.

    Raises:
        BadRequest: it is no selector, or of a field that cannot be selected by.
    """
    known = _EVENT_FIELDS if kind == EVENT.name else _FIELDS
    tests: list[tuple[list[str], str, bool]] = []
    for part in filter(None, selector.split(",")):
        match = re.match(r"([A-Za-z.]+)(==|=|!=)(.*)\Z", part, re.DOTALL)
        if match is None:
            raise BadRequest(f"unable to parse the field selector at {part[:80]!r}")
        if match[1] not in known:
            raise BadRequest(f"field label not supported: {match[1]}; supported are {', '.join(known)}")
        tests.append((match[1].split("."), match[3], match[2] != "!="))
    return lambda document: all((_text(document, path) == value) is wanted for path, value, wanted in tests)


def _text(document: Mapping[str, Any], path: list[str]) -> str:
    found: Any = document
    for key in path:
        found = found.get(key, "") if isinstance(found, dict) else ""
    return str(found)
