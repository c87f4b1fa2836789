# SPDX-License-Identifier: Apache-2.0
"""The last stage of a round: the gate decides, the channel takes the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.contract import Delivery
from helmet_cloud.controller.crash_points import JUDGED, PUBLISHED
from helmet_cloud.controller.inputs import condition_data
from helmet_cloud.controller.keeping import keep
from helmet_cloud.controller.models import NotReady, model_digest, round_folder
from helmet_cloud.core.gate import decide
from helmet_cloud.core.job_state import Abandoned, Judged
from helmet_cloud.core.job_state import Published as PublishedEvent
from helmet_cloud.errors import BadRequest
from helmet_cloud.ports import Publication

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from helmet_cloud.controller.parts import Parts
    from helmet_cloud.controller.plan import JobPlan
    from helmet_cloud.core.job_state import JobState, Move
    from helmet_cloud.ports import Published
    from helmet_cloud.store.rounds import RoundRow


def judge(parts: Parts, plan: JobPlan, state: JobState, row: RoundRow) -> Move | str:
    """The gate's decision, kept; or what a model that passed waits for.

    A model that passes outside of the deploy trigger's window waits for it. (Sedna drops it.)
    """
    decision = decide(plan.deploy.condition, state.results, plan.labels, plan.guard_recall_drop)
    window = plan.deploy.window
    if decision.accepted and window is not None and parts.clock.now() not in window:
        return f"{decision.reason}; waits for the window {window}"

    def also(_session: Session, kept: RoundRow) -> None:
        kept.decision = {"accepted": decision.accepted, "reason": decision.reason, **decision.figures}
        kept.reason = decision.reason

    parts.reached(JUDGED)
    data = condition_data(parts, row, "Deploy", state.results, decision.figures)
    return keep(parts, plan.spec.uid, Judged(decision.accepted, decision.reason), also, data)


def publish(parts: Parts, plan: JobPlan, row: RoundRow) -> Move:
    """Publishes the model of a round that passed; doing it again after a crash changes nothing in the channel.

    A model that cannot go out ends the round. Faults of the surroundings (a full disk, missing keys) do not: they are
    raised, and the model waits.

    Raises:
        AgentError: it could not be published now.
    """
    folder = round_folder(parts, row.output_dir, row.number)
    try:
        if model_digest(folder) != row.model_sha256:
            reason = f"{folder}: the model was changed after it had been evaluated: only what was measured goes out"
            return _give_up(parts, plan, reason)
        published = parts.channel.publish(_publication(plan, row, folder))
    except (BadRequest, NotReady) as error:
        return _give_up(parts, plan, f"the model of round {row.number} cannot be published: {error}")
    parts.reached(PUBLISHED)

    def also(_session: Session, kept: RoundRow) -> None:
        kept.release = published.release

    return keep(parts, plan.spec.uid, PublishedEvent(_line(row, published)), also)


def _give_up(parts: Parts, plan: JobPlan, reason: str) -> Move:
    return keep(parts, plan.spec.uid, Abandoned("failed", reason))


def _line(row: RoundRow, published: Published) -> str:
    return f"round {row.number}: model {published.sha256[:12]} is out as release {published.release}; {row.reason}"


def _publication(plan: JobPlan, row: RoundRow, folder: Path) -> Publication:
    spec = plan.spec
    return Publication(
        job=spec.job,
        folder=folder,
        mining=spec.mining,
        delivery=Delivery(str(spec.job), spec.hot_update, spec.poll_seconds),
        ring=spec.options.ring,
        parent=row.base_sha256,
        dataset=row.train_version,
        report=row.decision or {},
        reason=row.reason or "",
    )
