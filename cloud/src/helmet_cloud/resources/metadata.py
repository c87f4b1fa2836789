# SPDX-License-Identifier: Apache-2.0
"""Names, labels and annotations: Kubernetes' rules for ``metadata``."""

from __future__ import annotations

import re
from typing import Any

from helmet_cloud.resources.problems import Problem, forbidden, invalid, required, wrong_type

MAX_NAME, MAX_LABEL, MAX_ANNOTATIONS = 253, 63, 256 << 10

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(rf"{_LABEL}\Z")
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*\Z")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")

TEXTS = ("name", "generateName", "namespace")
MAPS = ("labels", "annotations")
OWNED = ("uid", "resourceVersion", "generation", "creationTimestamp")
"""Written by the hub; a client may hand back what it was given."""
DROPPED = ("managedFields", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds")
"""Clients may send them; nothing is made of them."""
REFUSED = {
    "finalizers": "the hub deletes at once and waits for no finalizers",
    "ownerReferences": "the hub deletes nothing because its owner is gone",
}


def is_namespace(text: str) -> bool:
    """Whether it is a DNS-1123 label of at most 63 characters."""
    return len(text) <= MAX_LABEL and _DNS_LABEL.match(text) is not None


def is_name(text: str) -> bool:
    """Whether it is a DNS-1123 subdomain of at most 253 characters; no path can be made of such a name."""
    return len(text) <= MAX_NAME and _DNS_SUBDOMAIN.match(text) is not None


def name_problem(field: str, text: str, longest: int = MAX_NAME) -> Problem | None:
    """What is wrong with the name of an object."""
    if is_name(text) and len(text) <= longest:
        return None
    rule = "lower case letters, digits, '-' and '.', beginning and ending with a letter or digit (DNS-1123)"
    return invalid(field, text, f"expected at most {longest} characters: {rule}")


def check_metadata(given: object) -> tuple[dict[str, Any], list[Problem], list[str]]:
    """Holds the metadata of an object against Kubernetes' rules.

    Returns:
        A copy with what clients may set (and hand back), what is wrong, and the unknown fields as messages.
    """
    if not isinstance(given, dict):
        return {}, [wrong_type("metadata", given, "object") if given is not None else required("metadata")], []
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    unknown: list[str] = []
    for key, value in given.items():
        if value is None or key in DROPPED:
            continue
        if key in REFUSED:
            problems += [forbidden(f"metadata.{key}", REFUSED[key])] if value else []
        elif key in MAPS:
            found[key] = value
            problems += _texts(f"metadata.{key}", value)
        elif key in TEXTS or key in OWNED:
            expected = int if key == "generation" else str
            if not isinstance(value, expected) or isinstance(value, bool):
                problems.append(wrong_type(f"metadata.{key}", value, "integer" if expected is int else "string"))
            found[key] = value
        else:
            unknown.append(f'unknown field "metadata.{key[:100]}"')
    return found, problems or _contents(found), unknown


def _texts(field: str, value: object) -> list[Problem]:
    if not isinstance(value, dict):
        return [wrong_type(field, value, "object")]
    return [wrong_type(f"{field}[{key}]", each, "string") for key, each in value.items() if not isinstance(each, str)]


def _contents(found: dict[str, Any]) -> list[Problem]:
    problems = []
    for field in MAPS:
        for key in found.get(field, {}):
            prefix, slash, name = key.rpartition("/")
            if len(name) > MAX_LABEL or not _QUALIFIED.match(name) or (slash and not is_name(prefix)):
                problems.append(
                    invalid(f"metadata.{field}", key, "expected a name, perhaps with a domain and / before it")
                )
    for key, value in found.get("labels", {}).items():
        if value and (len(value) > MAX_LABEL or not _QUALIFIED.match(value)):
            problems.append(invalid(f"metadata.labels[{key}]", value, "expected at most 63 letters, digits and -_."))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in found.get("annotations", {}).items())
    if size > MAX_ANNOTATIONS:
        problems.append(
            Problem("metadata.annotations", "FieldValueTooLong", f"Too long: more than {MAX_ANNOTATIONS} bytes")
        )
    return problems
