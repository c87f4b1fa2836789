# SPDX-License-Identifier: Apache-2.0
"""Keeps what happened to a job: state, conditions and round in one transaction, before anything is done about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from helmet_cloud.core.job_state import CloseRound, JobState, Move, StopWorker, Transition, advance
from helmet_cloud.store.rounds import ACCEPTED, JobRow, RoundRow, round_of
from helmet_cloud.store.samples import mark_used

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session

    from helmet_cloud.controller.parts import Parts
    from helmet_cloud.controller.plan import JobPlan
    from helmet_cloud.core.job_state import Event


def state_of(row: JobRow) -> JobState:
    """The state that a row keeps."""
    return JobState(**{**row.state, "results": tuple(row.state["results"])})


def new_job(plan: JobPlan, now: float) -> JobRow:
    """The row of a job that is seen for the first time."""
    row = JobRow(
        uid=plan.spec.uid,
        namespace=plan.spec.job.namespace,
        name=plan.spec.job.name,
        created_seconds=now,
        deleted=False,
        generation=plan.spec.generation,
        retry=plan.spec.options.retry,
        state=asdict(JobState()),
        conditions=[],
        told=0,
    )
    first = Transition("Train", "Waiting", "JobCreated", "the first round waits for samples")
    _append(row, (first,), now, limit=1)
    return row


def keep(
    parts: Parts,
    uid: str,
    event: Event,
    also: Callable[[Session, RoundRow], None] | None = None,
    data: str | None = None,
) -> Move:
    """Advances a job's state machine and keeps the result; then ends workers that nobody waits for any more.

    Args:
        parts: the surroundings.
        uid: of the job.
        event: what happened.
        also: changes the round in the same transaction; called only when the event belongs to the state.
        data: Sedna's ``data`` of the new conditions.
    """
    with parts.database.write() as session:
        move = keep_in(parts, session, uid, event, also=also, data=data)
    for effect in move.effects:
        if isinstance(effect, StopWorker):
            parts.runner.stop(effect.worker, effect.reason)
    return move


def keep_in(
    parts: Parts,
    session: Session,
    uid: str,
    event: Event,
    *,
    also: Callable[[Session, RoundRow], None] | None = None,
    data: str | None = None,
) -> Move:
    """As ``keep``, in a transaction of the caller, who also sees to the workers."""
    row = session.get_one(JobRow, uid)
    move = advance(state_of(row), event, parts.home.settings.round_attempts)
    if not move.transitions:
        return move
    now = parts.clock.now()
    row.state = asdict(move.state)
    _append(row, move.transitions, now, limit=parts.home.settings.history_conditions, data=data)
    if also is not None:
        also(session, round_of(session, uid, move.state.round))
    for effect in move.effects:
        if isinstance(effect, CloseRound):
            _close(session, uid, effect, now)
    return move


def note(parts: Parts, uid: str, message: str) -> None:
    """Replaces the message of a job's present condition; nothing happens when it says so already."""
    with parts.database.read() as session:
        if session.get_one(JobRow, uid).conditions[-1]["message"] == message:
            return
    with parts.database.write() as session:
        row = session.get_one(JobRow, uid)
        last = {**row.conditions[-1], "message": message, "heartbeat": parts.clock.now()}
        row.conditions = [*row.conditions[:-1], last]


def _append(row: JobRow, transitions: Sequence[Transition], now: float, *, limit: int, data: str | None = None) -> None:
    number = row.conditions[-1]["number"] if row.conditions else 0
    entries: list[dict[str, Any]] = [
        {
            "number": number + index,
            "stage": each.stage,
            "type": each.step,
            "reason": each.reason,
            "message": each.message,
            "time": now,
            "heartbeat": now,
            "data": data,
        }
        for index, each in enumerate(transitions, 1)
    ]
    # Those that nobody was told of yet are kept beyond the limit; few, since telling follows each step.
    kept = max(limit, number + len(entries) - row.told)
    row.conditions = [*row.conditions, *entries][-kept:]


def _close(session: Session, uid: str, effect: CloseRound, now: float) -> None:
    row = round_of(session, uid, effect.round)
    row.status = effect.ending
    row.closed_seconds = now
    row.reason = effect.reason
    if effect.ending == ACCEPTED:
        mark_used(session, uid, effect.round)
