# SPDX-License-Identifier: Apache-2.0
"""What becomes of a resource that somebody sends: held against schema and rules, cleaned, with advice."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helmet_cloud.errors import BadRequest
from helmet_cloud.resources.advice import advise, normalise
from helmet_cloud.resources.metadata import MAX_LABEL, check_metadata, is_namespace, name_problem
from helmet_cloud.resources.problems import Invalid, Problem, invalid, required
from helmet_cloud.resources.rules import check_rules
from helmet_cloud.resources.schema import check_spec, check_status, meant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_cloud.resources.kinds import Kind

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
VALIDATIONS = (STRICT, WARN, IGNORE)
_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A resource that is taken.

    Attributes:
        document: it, cleaned.
        warnings: advice, one line each.
    """

    document: dict[str, Any]
    warnings: tuple[str, ...]


def admit(
    kind: Kind,
    document: object,
    *,
    namespace: str = "default",
    validation: str = STRICT,
    hub_zone: str = "UTC",
    duplicates: Sequence[str] = (),
) -> Admitted:
    """Holds a resource, as it was sent, against every rule.

    Args:
        kind: what it must be.
        document: as it was read.
        namespace: of a resource that names none.
        validation: what becomes of unknown and doubled fields: ``Strict`` refuses them, ``Warn`` leaves them out and
            says so, ``Ignore`` leaves them out.
        hub_zone: time zone of windows that name none.
        duplicates: messages about doubled fields that the reader saw.

    Raises:
        BadRequest: another kind, or no object at all, or unknown fields.
        Invalid: every fault with the path of its field.
    """
    fields = _object_of(kind, document)
    meta, problems, unknown = check_metadata(fields.get("metadata"))
    meta.setdefault("namespace", namespace)
    problems += _names(meta) if not problems else []
    spec = copy.deepcopy(fields.get("spec"))
    warnings = normalise(kind.name, spec)
    if spec is None:
        problems.append(required("spec"))
    else:
        checked = check_spec(kind.name, spec)
        problems += checked.problems
        unknown += checked.unknown
        spec = checked.value
    unknown = [
        *(f'unknown field "{key[:100]}"{meant(key, _FIELDS)}' for key in fields if key not in _FIELDS),
        *unknown,
        *duplicates,
    ]
    if unknown and validation == STRICT:
        version = kind.api_version.rpartition("/")[2]
        raise BadRequest(
            f'{kind.name} in version "{version}" cannot be handled as a {kind.name}: '
            f"strict decoding error: {', '.join(unknown)}"
        )
    admitted = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": meta, "spec": spec}
    if not problems:
        problems = check_rules(kind.name, admitted)
    if problems:
        raise Invalid(kind.name, str(meta.get("name", meta.get("generateName", ""))), problems)
    warnings += unknown if validation == WARN else []
    return Admitted(admitted, (*warnings, *advise(kind.name, admitted, hub_zone)))


def admit_status(kind: Kind, document: object) -> dict[str, Any]:
    """Holds a resource whose status was sent against the status' schema alone.

    Raises:
        BadRequest: another kind, no object, or unknown fields.
        Invalid: every fault with the path of its field.
    """
    fields = _object_of(kind, document)
    meta, problems, _ = check_metadata(fields.get("metadata"))
    checked = check_status(kind.name, fields.get("status") or {}) if fields.get("status") else None
    if checked is not None:
        problems += checked.problems
        if checked.unknown:
            raise BadRequest(f"strict decoding error: {', '.join(checked.unknown)}")
    if problems:
        raise Invalid(kind.name, str(meta.get("name", "")), problems)
    return {**fields, "metadata": meta, "status": checked.value if checked else {}}


def _object_of(kind: Kind, document: object) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise BadRequest(f"expected a {kind.name} as an object, found {type(document).__name__}")
    for field, expected in (("apiVersion", kind.api_version), ("kind", kind.name)):
        if document.get(field) != expected:
            raise BadRequest(
                f"the {field} in the data ({str(document.get(field, ''))[:100]}) does not match the expected {field} "
                f"({expected})"
            )
    return document


def _names(meta: dict[str, Any]) -> list[Problem]:
    problems = []
    if not is_namespace(meta["namespace"]):
        problems.append(
            invalid("metadata.namespace", meta["namespace"], f"expected at most {MAX_LABEL} characters a-z, 0-9, -")
        )
    if meta.get("name"):
        problems += [problem for problem in (name_problem("metadata.name", meta["name"]),) if problem]
    elif not meta.get("generateName"):
        problems.append(
            Problem("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
        )
    return problems
