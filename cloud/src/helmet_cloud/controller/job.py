# SPDX-License-Identifier: Apache-2.0
"""One job, one step at a time: what is due follows from the kept state, and its outcome is kept before the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_cloud.controller.crash_points import (
    CLOSED,
    DECISION_KEPT,
    END_KEPT,
    INPUTS_WRITTEN,
    OPENED,
    START_KEPT,
    WORKER_ENDED,
    WORKER_NAMED,
    WORKER_STARTED,
)
from helmet_cloud.controller.deploying import judge, publish
from helmet_cloud.controller.inputs import condition_data, data_file, worker_spec, write_data
from helmet_cloud.controller.keeping import keep, keep_in, note, state_of
from helmet_cloud.controller.models import NotReady, model_digest, round_folder
from helmet_cloud.controller.opening import look, open_round
from helmet_cloud.controller.watching import Watch, progress
from helmet_cloud.core.job_state import Abandoned, Ended, Named, Started, Triggered, due
from helmet_cloud.core.worker_outcome import Outcome, Patience, judge_worker
from helmet_cloud.errors import Conflict, HubError
from helmet_cloud.store.rounds import JobRow, round_of
from helmet_cloud.store.samples import sample_groups, try_again, version_members

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from helmet_cloud.controller.parts import Parts
    from helmet_cloud.controller.plan import JobPlan
    from helmet_cloud.core.job_state import JobState
    from helmet_cloud.store.rounds import RoundRow

WATCH_SECONDS = 1.0
"""How often a running worker is looked at."""

SOON_SECONDS = 0.05
"""Until the next portion of many new pictures: other jobs have their turn between."""

RETRY_SECONDS = 5.0
"""Between a worker's failure and its next attempt."""

_KINDS = {"Train": "train", "Eval": "eval"}


class JobSteps:
    """Takes jobs one step further.

    Args:
        parts: the surroundings.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._watch = Watch(parts.runner, parts.clock)

    def step(self, plan: JobPlan) -> float:  # noqa: PLR0911 - one a kind of step
        """Does what is due for a job.

        Returns:
            Seconds until it should be looked at again.

        Raises:
            AgentError: a fault of the surroundings; the step is to be done again.
        """
        state, row = self._now(plan)
        if state.in_round and plan.spec.options.cancel_round == state.round:
            keep(self._parts, plan.spec.uid, Abandoned("cancelled", f"round {state.round} was cancelled"))
            self._parts.reached(CLOSED)
            return 0.0
        what = due(state)
        if row is None or what == "trigger":
            return self._trigger(plan)
        if what == "prepare":
            return self._prepare(plan, state, row)
        if what == "start":
            return self._start(plan, state, row)
        if what == "watch":
            return self._look_after(plan, state, row)
        if what == "judge":
            found = judge(self._parts, plan, state, row)
            if isinstance(found, str):
                note(self._parts, plan.spec.uid, found)
                return plan.deploy.check_seconds
            self._parts.reached(DECISION_KEPT)
            return 0.0
        publish(self._parts, plan, row)
        self._parts.reached(CLOSED)
        return 0.0

    def abandon(self, uid: str, reason: str) -> None:
        """Ends the round of a job that is gone."""
        keep(self._parts, uid, Abandoned("cancelled", reason))

    def _now(self, plan: JobPlan) -> tuple[JobState, RoundRow | None]:
        with self._parts.database.read() as session:
            state = state_of(session.get_one(JobRow, plan.spec.uid))
            return state, round_of(session, plan.spec.uid, state.round) if state.in_round else None

    def _trigger(self, plan: JobPlan) -> float:
        parts, uid = self._parts, plan.spec.uid
        self._forgive(plan)
        found = look(parts, plan)
        if found.waiting:
            note(parts, uid, found.message)
            return SOON_SECONDS
        message = found.message
        if found.met:
            try:
                with parts.database.write() as session:
                    number = open_round(parts, plan, session, found)
                    keep_in(parts, session, uid, Triggered(number, f"round {number}: {found.message}"))
            except NotReady as error:
                message = str(error)
            else:
                parts.reached(OPENED)
                return 0.0
        note(parts, uid, message)
        return plan.train.check_seconds

    def _forgive(self, plan: JobPlan) -> None:
        """Samples that were tried in vain count again when the job was changed or somebody asked for it."""
        wanted = (plan.spec.generation, plan.spec.options.retry)
        with self._parts.database.read() as session:
            row = session.get_one(JobRow, plan.spec.uid)
            if (row.generation, row.retry) == wanted:
                return
        with self._parts.database.write() as session:
            row = session.get_one(JobRow, plan.spec.uid)
            row.generation, row.retry = wanted
            try_again(session, row.uid)

    def _prepare(self, plan: JobPlan, state: JobState, row: RoundRow) -> float:
        parts, kind = self._parts, _KINDS[state.stage]
        roles = {"train": row.train_version, "replay": row.replay_version} if kind == "train" else {}
        roles |= {"eval": row.eval_version}
        with parts.database.read() as session:
            members = {role: version_members(session, one) for role, one in roles.items() if one is not None}
            groups = sample_groups(session, plan.spec.uid)
        for role, some in members.items():
            write_data(data_file(parts, row, role), some, groups)
        parts.reached(INPUTS_WRITTEN)
        digest = None
        if kind == "eval":
            try:
                digest = model_digest(round_folder(parts, row.output_dir, row.number))
            except NotReady as error:
                reason = f"the training of round {row.number} left no complete model: {error}"
                keep(parts, plan.spec.uid, Abandoned("failed", reason))
                parts.reached(CLOSED)
                return 0.0

        def also(_session: Session, kept: RoundRow) -> None:
            # From here on it is this very file that is measured, and later published.
            kept.model_sha256 = digest or kept.model_sha256

        name = f"{plan.spec.job.name}-{kind}-{row.number}-{state.attempt + state.lost + 1}-{parts.token()}"
        keep(parts, plan.spec.uid, Named(name), also, condition_data(parts, row, state.stage, ()))
        parts.reached(WORKER_NAMED)
        return 0.0

    def _start(self, plan: JobPlan, state: JobState, row: RoundRow) -> float:
        parts, name = self._parts, str(state.worker)
        try:
            parts.runner.start(worker_spec(parts, plan, row, _KINDS[state.stage], name))
        except Conflict:
            pass  # a hub before this one started it and was killed before it could say so: see what it left
        except HubError as error:
            return self._ended(plan, state, row, Outcome("failed", str(error)))
        parts.reached(WORKER_STARTED)
        keep(parts, plan.spec.uid, Started(), data=condition_data(parts, row, state.stage, ()))
        parts.reached(START_KEPT)
        return 0.0

    def _look_after(self, plan: JobPlan, state: JobState, row: RoundRow) -> float:
        parts, name, settings = self._parts, str(state.worker), self._parts.home.settings
        train = state.stage == "Train"
        patience = Patience(settings.train_timeout_seconds if train else settings.eval_timeout_seconds)
        seen, report = self._watch.observe(name)
        outcome = judge_worker(seen, patience)
        if outcome.verdict == "stop":
            parts.runner.stop(name, outcome.reason)
            return 0.0
        if outcome.verdict == "pending":
            said = progress(report)
            told = f"{name} runs (attempt {state.attempt})" if seen.running else f"{name} exited; its report is awaited"
            note(parts, plan.spec.uid, f"{told}{f': {said}' if said else ''}")
            return WATCH_SECONDS
        self._watch.forget(name)
        return self._ended(plan, state, row, outcome)

    def _ended(self, plan: JobPlan, state: JobState, row: RoundRow, outcome: Outcome) -> float:
        parts = self._parts
        parts.reached(WORKER_ENDED)
        data = condition_data(parts, row, state.stage, outcome.results)
        move = keep(parts, plan.spec.uid, Ended(outcome), data=data)
        parts.reached(END_KEPT if move.state.in_round else CLOSED)
        return RETRY_SECONDS * state.attempt if outcome.verdict == "failed" and move.state.in_round else 0.0
