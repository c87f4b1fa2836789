# SPDX-License-Identifier: Apache-2.0
"""A job's status as Kubernetes clients read it, and the events that ``kubectl describe`` shows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from helmet_cloud.errors import NotFound
from helmet_cloud.resources.kinds import JOB, MODEL
from helmet_cloud.store.resources import timestamp
from helmet_cloud.store.rounds import ACCEPTED, RUNNING, JobRow, last_round

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from helmet_cloud.controller.parts import Parts
    from helmet_cloud.store.rounds import RoundRow

MODEL_DEPLOYED, ROUND_FAILED = "ModelDeployed", "RoundFailed"
_WARNINGS = frozenset({"WorkerFailed", "WorkerLost", "Refused", "RoundFailed", "Cancelled"})
_TOLD_OF = _WARNINGS | {"Triggered", "WorkerStarted", "TrainCompleted", "EvalCompleted", "Accepted", "Deployed"}


def tell(parts: Parts, uid: str) -> None:
    """Writes a job's status and records events of what is new in it; a job that is gone is told nothing.

    Events are recorded before it is noted that they were: after a crash one may be counted twice, none is missing.
    """
    with parts.database.read() as session:
        row = session.get_one(JobRow, uid)
        status = status_of(session, row, parts.home.settings.history_conditions)
        accepted = last_round(session, uid, ACCEPTED)
    try:
        present = parts.resources.get(JOB.name, row.namespace, row.name)
    except NotFound:
        return
    if present["metadata"]["uid"] != uid:
        return
    if present.get("status") != status:
        parts.resources.write_status(JOB.name, row.namespace, row.name, status)
        if accepted is not None:
            _tell_model(parts, row.namespace, present["spec"]["deploySpec"]["model"]["name"], accepted)
    fresh = [one for one in row.conditions if one["number"] > row.told]
    for one in fresh:
        if one["reason"] in _TOLD_OF:
            kind = "Warning" if one["reason"] in _WARNINGS else "Normal"
            parts.events.record(
                JOB.name, row.namespace, row.name, type=kind, reason=one["reason"], message=one["message"]
            )
    if fresh:
        with parts.database.write() as session:
            session.get_one(JobRow, uid).told = fresh[-1]["number"]


def _tell_model(parts: Parts, namespace: str, name: str, accepted: RoundRow) -> None:
    """The deployed Model's status: what the model that fills its slot was measured at."""
    measured: dict[str, Any] = (accepted.decision or {}).get("new") or {}
    labels = measured.get("labels") or ()
    metrics = [
        {"key": f"{metric}[{label}]", "value": f"{value:.4f}"}
        for metric, values in sorted(measured.get("values", {}).items())
        if isinstance(values, list)
        for label, value in zip(labels, values, strict=False)
        if value is not None
    ]
    status = {"updateTime": timestamp(accepted.closed_seconds or 0.0), "metrics": metrics}
    with contextlib.suppress(NotFound):
        parts.resources.write_status(MODEL.name, namespace, name, status)


def status_of(session: Session, row: JobRow, limit: int) -> dict[str, Any]:
    """The status: our own unique conditions first, so that ``kubectl wait`` finds them, then Sedna's history.

    Args:
        session: a view of the database.
        row: of the job.
        limit: how many of Sedna's conditions are shown, the newest.
    """
    accepted = last_round(session, row.uid, ACCEPTED)
    last = last_round(session, row.uid)
    history = [_past(one) for one in row.conditions[-limit:]]
    return {
        "startTime": timestamp(row.created_seconds),
        "conditions": [_deployed(row, accepted), _failed(row, last), *history],
    }


def _deployed(row: JobRow, accepted: RoundRow | None) -> dict[str, Any]:
    if accepted is None:
        message = "no model has come out of this job yet"
        return _condition(MODEL_DEPLOYED, "Deploy", "NoModelYet", message, since=row.created_seconds, state="False")
    message = (
        f"round {accepted.number}: model {accepted.model_sha256} is out as release {accepted.release}; "
        f"{accepted.reason}"
    )
    return _condition(MODEL_DEPLOYED, "Deploy", "Deployed", message, since=accepted.closed_seconds or 0.0)


def _failed(row: JobRow, last: RoundRow | None) -> dict[str, Any]:
    if last is None:
        return _condition(ROUND_FAILED, "Train", "NoRoundYet", "no round yet", since=row.created_seconds, state="False")
    if last.status == RUNNING:
        message = f"round {last.number} is under way"
        return _condition(ROUND_FAILED, "Train", "RoundRunning", message, since=last.opened_seconds, state="False")
    closed = last.closed_seconds or 0.0
    if last.status == ACCEPTED:
        message = f"round {last.number} was completed"
        return _condition(ROUND_FAILED, "Deploy", "RoundCompleted", message, since=closed, state="False")
    reason = {"refused": "Refused", "cancelled": "Cancelled"}.get(last.status, "RoundFailed")
    message = (
        f"round {last.number} {last.status}: {last.reason}; its samples stay pending, the next round waits for new "
        "ones (or for a change of the job's spec or of its annotation helmet.edge/retry)"
    )
    return _condition(ROUND_FAILED, "Deploy" if last.status == "refused" else "Train", reason, message, since=closed)


def _past(one: dict[str, Any]) -> dict[str, Any]:
    found = _condition(one["type"], one["stage"], one["reason"], one["message"], since=one["time"])
    found["lastHeartbeatTime"] = timestamp(one["heartbeat"])
    return found if one["data"] is None else found | {"data": one["data"]}


def _condition(
    kind: str, stage: str, reason: str, message: str, *, since: float, state: str = "True"
) -> dict[str, Any]:
    return {
        "type": kind,
        "status": state,
        "stage": stage,
        "lastHeartbeatTime": timestamp(since),
        "lastTransitionTime": timestamp(since),
        "reason": reason,
        "message": message,
    }
