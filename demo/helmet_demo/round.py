# SPDX-License-Identifier: Apache-2.0
"""Reads a job's conditions: which stage of its first round is where, and how the round ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

TRIGGER, TRAINING, EVALUATION, GATE, PUBLISHING = "trigger", "training", "evaluation", "gate", "publishing"
WAITS, RUNS, DONE, FAILED = "waits", "runs", "done", "failed"

UNIQUE = frozenset({"ModelDeployed", "RoundFailed"})
"""The hub's own conditions, which sum up what the history tells in order."""


@dataclass(frozen=True, slots=True)
class Row:
    """Where a stage is.

    Attributes:
        state: ``waits``, ``runs``, ``done`` or ``failed``.
        words: what the hub says of it.
    """

    state: str = WAITS
    words: str = ""


def rows(conditions: Sequence[dict[str, Any]]) -> dict[str, Row]:
    """The rows of the first round.

    Args:
        conditions: of a job's status, the newest last; those that are no part of Sedna's history are passed over.
    """
    found = {name: Row() for name in (TRIGGER, TRAINING, EVALUATION, GATE, PUBLISHING)}
    for one in conditions:
        if one.get("type") in UNIQUE:
            continue
        name, row = _row(one)
        if found.get(PUBLISHING, Row()).state in (DONE, FAILED) or FAILED in {row.state for row in found.values()}:
            break  # what follows belongs to the next round
        if name is not None:
            found[name] = row
    return found


def ended(found: dict[str, Row]) -> bool:
    """Whether the round is over."""
    return found[PUBLISHING].state == DONE or any(row.state == FAILED for row in found.values())


def _row(one: dict[str, Any]) -> tuple[str | None, Row]:  # noqa: PLR0911 - one a kind of condition
    words = str(one.get("message", ""))
    stage, step, reason = one.get("stage"), one.get("type"), one.get("reason")
    name = {"Train": TRAINING, "Eval": EVALUATION}.get(str(stage))
    if step == "Failed":
        return name or GATE, Row(FAILED, words)
    if (stage, step) == ("Train", "Waiting"):
        return TRIGGER, Row(RUNS, words)
    if reason == "Triggered":
        return TRIGGER, Row(DONE, words)
    if reason == "Refused":
        return GATE, Row(FAILED, words)
    if reason == "Accepted":
        return GATE, Row(DONE, words)
    if reason == "Deployed":
        return PUBLISHING, Row(DONE, words.partition(";")[0])  # the gate's words follow, which its own row has
    if name is not None and step in ("Ready", "Starting", "Running", "Completed"):
        return name, Row(DONE if step == "Completed" else RUNS, words)
    return None, Row()
