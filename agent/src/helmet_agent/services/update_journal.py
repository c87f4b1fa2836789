# SPDX-License-Identifier: Apache-2.0
"""The updater's journal: lines in, state out. A line is an event, or the sum of all lines before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helmet_agent.contract import ContractError
from helmet_agent.contract.fields import Fields
from helmet_agent.services.update_events import Event, ModelRef
from helmet_agent.services.update_state import Phase, Refusal, UpdateState, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MANY = 1 << 53


def replay(lines: Iterable[Mapping[str, Any]]) -> UpdateState | None:
    """The state that a journal adds up to; None when it tells of none.

    Lines that cannot be read, and events that cannot have happened, are passed over: what the others say still holds.
    """
    state: UpdateState | None = None
    for line in lines:
        try:
            if "state" in line:
                state = state_from_fields(Fields(line).child("state"))
            elif state is not None:
                state = fold(state, [Event.from_json(line)])
        except ContractError:
            continue
    return state


def sum_line(state: UpdateState) -> dict[str, Any]:
    """The line that stands for all lines before it."""
    return {"state": state_to_json(state)}


def state_to_json(state: UpdateState) -> dict[str, Any]:
    """The journal's form of a state."""
    return {
        "current": state.current.to_json(),
        "history": [model.to_json() for model in state.history],
        "phase": state.phase.value,
        "candidate": None if state.candidate is None else state.candidate.to_json(),
        "stopped": state.stopped,
        "floors": [model.to_json() for model in state.floors],
        "crashes": [{"key": key, "count": count} for key, count in state.crashes],
        "quarantined": [
            {
                "model": one.model.to_json(),
                "reason": one.reason or "unknown",
                "time": one.time_seconds,
                "manifest_only": one.manifest_only,
            }
            for one in state.quarantined
        ],
    }


def state_from_fields(fields: Fields) -> UpdateState:
    """Reads the journal's form of a state.

    Raises:
        ContractError: a field is missing or cannot be right.
    """
    history = fields.objects("history", ModelRef.from_fields)
    if not history:
        raise fields.fail("history", "at least one model")
    phase = fields.text("phase")
    if phase not in set(Phase):
        raise fields.fail("phase", "a known phase")
    candidate = ModelRef.from_fields(fields.child("candidate")) if fields.has("candidate") else None
    if (candidate is None) != (phase == Phase.IDLE):
        raise fields.fail("candidate", f"what goes with the phase {phase}")
    return UpdateState(
        current=ModelRef.from_fields(fields.child("current")),
        history=history,
        phase=Phase(phase),
        candidate=candidate,
        stopped=fields.flag("stopped", default=False),
        floors=fields.objects("floors", ModelRef.from_fields),
        crashes=fields.objects("crashes", lambda one: (one.sha256("key"), one.integer("count", 0, _MANY))),
        quarantined=fields.objects("quarantined", _refusal),
    )


def _refusal(fields: Fields) -> Refusal:
    return Refusal(
        ModelRef.from_fields(fields.child("model")),
        fields.text("reason"),
        fields.number("time", -_MANY, _MANY),
        fields.flag("manifest_only"),
    )
