# SPDX-License-Identifier: Apache-2.0
"""Resources as the table that ``kubectl get`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from helmet_cloud.resources.kinds import DATASET, EVENT, JOB, MODEL, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Document = dict[str, Any]
NONE = "<none>"
SEDNA_STATES = ("Waiting", "Ready", "Starting", "Running", "Completed", "Failed")
_MAX_CELL = 120
_DAY = 86400
# How ages are written below so many seconds: (bound, unit, how many smaller units make one, smaller unit to add).
_AGES = (
    (120, "s", 1, ""),
    (600, "m", 60, "s"),
    (3 * 3600, "m", 1, ""),
    (8 * 3600, "h", 60, "m"),
    (2 * _DAY, "h", 1, ""),
    (8 * _DAY, "d", 24, "h"),
    (2 * 365 * _DAY, "d", 1, ""),
    (8 * 365 * _DAY, "y", 365, "d"),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: as kubectl prints it, in capitals.
        about: what stands in it.
        cell: the text of a resource, at some Unix time.
        wide: whether it is shown only with ``-o wide``.
    """

    name: str
    about: str
    cell: Callable[[Document, float], Any]
    wide: bool = False

    def definition(self) -> Document:
        """As a table announces it."""
        kind = "name" if self.name == "Name" else ""
        return {
            "name": self.name,
            "type": "string",
            "format": kind,
            "description": self.about,
            "priority": 1 if self.wide else 0,
        }


def table(kind: str, documents: Sequence[Document], version: str, now: float, include: str = "Metadata") -> Document:
    """A table of resources.

    Args:
        kind: of the resources.
        documents: one row each.
        version: of the list.
        now: Unix time, for ages.
        include: what comes with each row: ``Metadata``, ``Object`` or ``None``.
    """
    columns = _COLUMNS[kind]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [column.definition() for column in columns],
        "rows": [
            {"cells": [column.cell(each, now) for column in columns], **_included(each, include)} for each in documents
        ],
    }


def _included(document: Document, include: str) -> Document:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": document}
    head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return {"object": {**head, "metadata": document["metadata"]}}


def age(since: str | None, now: float) -> str:
    """How long ago a time is, as kubectl writes it: ``75s``, ``5m10s``, ``3h``, ``2d``."""
    if not since:
        return "<unknown>"
    seconds = max(0, int(now - datetime.fromisoformat(since).astimezone(UTC).timestamp()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    counts = {"s": seconds, "m": minutes, "h": hours, "d": days, "y": days // 365}
    for bound, unit, size, smaller in _AGES:
        if seconds < bound:
            rest = counts[smaller] - counts[unit] * size if smaller else 0
            return f"{counts[unit]}{unit}" + (f"{rest}{smaller}" if rest else "")
    return f"{counts['y']}y"


def _at(*path: str) -> Callable[[Document, float], Any]:
    def cell(document: Document, _: float) -> Any:
        found: Any = document
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return NONE if found is None else _short(str(found))

    return cell


def _since(*path: str) -> Callable[[Document, float], str]:
    def cell(document: Document, now: float) -> str:
        found: Any = document
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return age(found, now) if found else NONE

    return cell


def _last(document: Document) -> Document:
    """The latest of Sedna's conditions: the history follows the unique types, oldest first."""
    conditions = (document.get("status") or {}).get("conditions") or []
    return next((each for each in reversed(conditions) if each["type"] in SEDNA_STATES), {})


def _deployed(document: Document, _: float) -> str:
    conditions = (document.get("status") or {}).get("conditions") or []
    return next((each["status"] for each in conditions if each["type"] == "ModelDeployed"), "False")


def _metrics(document: Document, _: float) -> str:
    metrics = (document.get("status") or {}).get("metrics") or []
    return _short(",".join(f"{each['key']}={each['value']}" for each in metrics)) or NONE


def _involved(document: Document, _: float) -> str:
    involved = document["involvedObject"]
    return f"{involved['kind'].lower()}/{involved['name']}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 3] + "..."


_NAME = Column("Name", "Name of the resource.", _at("metadata", "name"))
_AGE = Column("Age", "Since it was made.", _since("metadata", "creationTimestamp"))
_COLUMNS: dict[str, tuple[Column, ...]] = {
    DATASET.name: (
        _NAME,
        Column("Samples", "Valid, distinct samples in the list.", _at("status", "numberOfSamples")),
        Column("Format", "How the list is written.", _at("spec", "format")),
        Column("Node", "Node that has the list.", _at("spec", "nodeName")),
        Column("Updated", "Since the list changed.", _since("status", "updateTime")),
        _AGE,
        Column("URL", "Where the list lies.", _at("spec", "url"), wide=True),
    ),
    MODEL.name: (
        _NAME,
        Column("Format", "What the file is.", _at("spec", "format")),
        Column("Updated", "Since the model changed.", _since("status", "updateTime")),
        _AGE,
        Column("URL", "Where the model lies.", _at("spec", "url"), wide=True),
        Column("Metrics", "Its figures.", _metrics, wide=True),
    ),
    JOB.name: (
        _NAME,
        Column("Stage", "Train, Eval or Deploy.", lambda each, _: _last(each).get("stage", NONE)),
        Column("State", "What the stage is doing.", lambda each, _: _last(each).get("type", NONE)),
        Column("Deployed", "Whether a model went out.", _deployed),
        Column("Message", "How far it is, or why.", lambda each, _: _short(_last(each).get("message", "")) or NONE),
        _AGE,
        Column("Dataset", "What it learns from.", _at("spec", "dataset", "name"), wide=True),
        Column("Model", "The slot that nodes follow.", _at("spec", "deploySpec", "model", "name"), wide=True),
    ),
    EVENT.name: (
        Column("Last Seen", "Since it last happened.", _since("lastTimestamp")),
        Column("Type", "Normal or Warning.", _at("type")),
        Column("Reason", "What happened, in one word.", _at("reason")),
        Column("Object", "What it is about.", _involved),
        Column("Message", "What happened.", lambda each, _: " ".join(each["message"].split())),
        Column("Count", "How often it happened.", _at("count"), wide=True),
        Column("Name", "Name of the event.", _at("metadata", "name"), wide=True),
    ),
    NAMESPACE.name: (_NAME, Column("Status", "Active.", _at("status", "phase")), _AGE),
}
