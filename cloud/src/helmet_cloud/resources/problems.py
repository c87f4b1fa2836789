# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a resource: each fault with the full path of its field, in Kubernetes' words."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_cloud.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_SHOWN = 80
MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault.

    Attributes:
        field: path such as ``spec.trainSpec.template.spec.containers[0].env[1].name``.
        reason: Kubernetes' word for the kind of fault, such as ``FieldValueInvalid``.
        message: for people, without the path.
    """

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Invalid(HubError):  # noqa: N818 - Kubernetes' own name
    """A resource that cannot be right.

    Args:
        kind: of the resource.
        name: of the resource, perhaps empty.
        problems: what is wrong with it.
    """

    status = 422

    def __init__(self, kind: str, name: str, problems: Sequence[Problem]) -> None:
        self.kind, self.name = kind, name
        self.problems = tuple(problems[:MAX_PROBLEMS])
        lines = "; ".join(map(str, self.problems))
        super().__init__(f'{kind} "{name}" is invalid: {lines}')


def required(field: str) -> Problem:
    """Something is missing."""
    return Problem(field, "FieldValueRequired", "Required value")


def invalid(field: str, value: object, why: str) -> Problem:
    """A value that cannot be right."""
    return Problem(field, "FieldValueInvalid", f"Invalid value: {shown(value)}: {why}")


def wrong_type(field: str, value: object, expected: str) -> Problem:
    """A value of another type."""
    kind = "null" if value is None else _TYPES.get(type(value), type(value).__name__)
    return Problem(field, "FieldValueTypeInvalid", f"Invalid value: {shown(value)}: expected {expected}, found {kind}")


def not_supported(field: str, value: object, known: Iterable[str]) -> Problem:
    """A name that nobody knows."""
    names = list(known)
    close = difflib.get_close_matches(str(value)[:100], names, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    listed = ", ".join(f'"{name}"' for name in names)
    return Problem(
        field, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {listed}{hint}"
    )


def duplicate(field: str, value: object) -> Problem:
    """Something that may stand there once."""
    return Problem(field, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def forbidden(field: str, why: str) -> Problem:
    """Something that must not stand there."""
    return Problem(field, "FieldValueForbidden", f"Forbidden: {why}")


def shown(value: object) -> str:
    """A value for a message: as JSON, short, one line."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = f'"{type(value).__name__}"'
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
