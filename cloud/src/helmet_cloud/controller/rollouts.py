# SPDX-License-Identifier: Apache-2.0
"""Takes releases from the canary ring to everybody, or back; ``core.rollout`` has the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from helmet_agent.contract import ContractError
from helmet_agent.errors import AgentError
from helmet_cloud.controller.crash_points import nothing
from helmet_cloud.core.rollout import (
    CANARY,
    DONE,
    HALTED,
    LIVING,
    PROMOTING,
    REVERTING,
    STABLE,
    SUPERSEDED,
    Heard,
    Rollout,
    RolloutRules,
    Surroundings,
    hear,
    next_phase,
)
from helmet_cloud.core.windows import Window
from helmet_cloud.errors import NotFound
from helmet_cloud.resources.kinds import JOB
from helmet_cloud.resources.views import job_spec
from helmet_cloud.store.events import EventRecorder
from helmet_cloud.store.models import PUBLISHED, publications
from helmet_cloud.store.nodes import list_nodes
from helmet_cloud.store.rollouts import begin_rollout, in_phase, keep_rollout, last_rollout

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from helmet_agent.contract import NodeReport
    from helmet_cloud.ports import Clock, JobRef, RolloutChannel
    from helmet_cloud.resources.options import JobOptions
    from helmet_cloud.settings import HubSettings
    from helmet_cloud.store.database import Database
    from helmet_cloud.store.nodes import NodeRow
    from helmet_cloud.store.resources import ResourceStore
    from helmet_cloud.store.rollouts import RolloutRow

_log = structlog.get_logger(__name__)

TICK_SECONDS = 5.0
STANDSTILL_SECONDS = 30.0
MANUAL = "manual"
PROMOTED, REVERTED = "rollout-promoted", "rollout-reverted"
"""Crash points: the channel has changed, and nobody has written down yet that it has."""


class Rollouts:
    """Watches the canary ring of every job that asks for it. For one thread.

    Args:
        settings: of the hub.
        database: has the nodes' reports, and keeps the rollouts.
        resources: the jobs.
        channel: what is published where.
        clock: time.
        reached: told each point of ``PROMOTED`` and ``REVERTED``; tests end the process there.
    """

    def __init__(
        self,
        settings: HubSettings,
        database: Database,
        resources: ResourceStore,
        channel: RolloutChannel,
        clock: Clock,
        *,
        reached: Callable[[str], None] = nothing,
    ) -> None:
        self._settings = settings
        self._database = database
        self._resources = resources
        self._events = EventRecorder(resources)
        self._channel = channel
        self._clock = clock
        self._reached = reached
        self._listens_since = self._ticked = (clock.now(), clock.monotonic())

    def run(self, stop: threading.Event) -> None:
        """Ticks until it is told to stop; no fault ends it."""
        while not stop.is_set():
            try:
                self.tick()
            except Exception:
                _log.exception("rollouts could not be looked at; they are tried again")
            stop.wait(TICK_SECONDS)

    def tick(self) -> None:
        """Takes every job's rollout one step on; what a job's raises is logged, and it is tried again."""
        self._listen()
        for document in self._resources.list(JOB.name):
            name = document["metadata"].get("name")
            try:
                spec = job_spec(document)
                self._job(spec.job, spec.options)
            except AgentError as error:
                _log.warning("a rollout's step failed; it is done again", job=name, reason=str(error))
            except Exception:
                _log.exception("a rollout could not be looked at; it is tried again", job=name)

    def _listen(self) -> None:
        """A hub that stood still, or whose clock was set, has not heard what was said meanwhile."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        passed = monotonic - self._ticked[1]
        if passed > STANDSTILL_SECONDS or abs(now - self._ticked[0] - passed) > STANDSTILL_SECONDS:
            self._listens_since = (now, monotonic)
        self._ticked = (now, monotonic)

    def _job(self, job: JobRef, options: JobOptions) -> None:
        with self._database.read() as session:
            row = last_rollout(session, job)
        state = None if row is None else row.state()
        if options.rollout == MANUAL and (state is None or state.phase not in LIVING):
            return
        live = self._channel.live(job, "canary")
        if row is not None and state is not None and state.phase in LIVING:
            # A change of the channel that was begun is ended whatever else is new.
            if state.phase in (PROMOTING, REVERTING):
                self._act(job, row, state)
                return
            if options.rollout == MANUAL:
                self._enter(job, row, state, SUPERSEDED, "somebody promotes by hand from now on")
                return
            if live is not None and live.release == state.release:
                self._look(job, row, state, options)
                return
            self._enter(job, row, state, SUPERSEDED, f"the canary ring has release {live.release if live else 0} now")
        if options.rollout != MANUAL and live is not None and (state is None or live.release > state.release):
            self._begin(job, live.release, live.sha256)

    def _begin(self, job: JobRef, release: int, sha256: str) -> None:
        stable = self._channel.live(job, "stable")
        if stable is not None and stable.sha256 == sha256:
            return  # everybody has it: so it is after a rollout went back
        with self._database.read() as session:
            there = [one.release for one in publications(session, job, "canary") if one.state == PUBLISHED]
            before = stable.release if stable is not None else next((one for one in there if one < release), None)
        state = Rollout(release, sha256, CANARY, self._clock.now(), before=before, reason="out to the canary ring")
        state = replace(state, nodes=hear(state, self._heard(job, state)))
        with self._database.write() as session:
            begin_rollout(session, job, state)
        self._tell(job, state)

    def _look(self, job: JobRef, row: RolloutRow, state: Rollout, options: JobOptions) -> None:
        now = self._clock.now()
        stable = self._channel.live(job, "stable")
        if state.phase != STABLE and stable is not None and stable.sha256 == state.sha256:
            self._enter(job, row, state, STABLE, "somebody promoted it by hand", promoted=stable.release)
            return
        heard = replace(state, nodes=hear(state, self._heard(job, state)))
        window = _window(options, self._settings)
        around = Surroundings(
            now,
            window is None or now in window,
            str(window),
            options.approve_release == state.release,
            self._clock.monotonic() - self._listens_since[1],
        )
        phase, reason = next_phase(heard, _rules(options), around)
        if phase != heard.phase:
            row = self._enter(job, row, heard, phase, reason)
            if phase in (PROMOTING, REVERTING):
                self._act(job, row, row.state())
        elif (heard.nodes, reason) != (state.nodes, state.reason):
            with self._database.write() as session:
                keep_rollout(session, row, replace(heard, reason=reason))

    def _act(self, job: JobRef, row: RolloutRow, state: Rollout) -> None:
        """Does what was decided; the decision is on the disk already."""
        if state.phase == PROMOTING:
            try:
                done = self._channel.promote(job, f"promoted from canary: {state.reason}", state.release)
            except NotFound as error:
                self._enter(job, row, state, SUPERSEDED, str(error))
                return
            self._reached(PROMOTED)
            self._enter(job, row, state, STABLE, f"release {done.release} is out to everybody", promoted=done.release)
            return
        told = []
        for ring in ("canary", "stable"):
            live = self._channel.live(job, ring)
            if state.before is None or live is None or live.sha256 != state.sha256:
                continue
            try:
                done = self._channel.restore(job, ring, state.before, f"back from {state.release}: {state.reason}")
            except NotFound as error:
                told.append(f"{ring} cannot go back: {error}")
                continue
            self._reached(REVERTED)
            told.append(f"{ring} has {done.sha256[:12]} again as release {done.release}")
        if state.before is None:
            told = ["there is no model to go back to; nodes keep the one that they had"]
        self._enter(job, row, state, HALTED, f"{state.reason}; {', '.join(told) or 'no ring has it any more'}")

    def _enter(  # noqa: PLR0917 - one line of history
        self, job: JobRef, row: RolloutRow, state: Rollout, phase: str, reason: str, promoted: int | None = None
    ) -> RolloutRow:
        now = self._clock.now()
        after = in_phase(state, phase, reason, now, promoted=state.promoted if promoted is None else promoted)
        with self._database.write() as session:
            row = keep_rollout(session, row, after)
        self._tell(job, after)
        return row

    def _heard(self, job: JobRef, state: Rollout) -> list[Heard]:
        with self._database.read() as session:
            rows = [row for row in list_nodes(session) if row.revoked_seconds is None and row.report is not None]
        found = [(row.seen_seconds or 0.0, _report(row)) for row in rows]
        return [_said(at, report, state) for at, report in found if report is not None and report.job == str(job)]

    def _tell(self, job: JobRef, state: Rollout) -> None:
        bad = state.phase in (REVERTING, HALTED)
        said = f"release {state.release} ({state.sha256[:12]}): {state.phase}: {state.reason}"
        (_log.warning if bad else _log.info)("rollout", job=str(job), phase=state.phase, reason=state.reason)
        kind, reason = ("Warning", "RolloutHalted") if bad else ("Normal", "Rollout")
        if state.phase == DONE:
            reason = "RolloutDone"
        self._events.record(JOB.name, job.namespace, job.name, type=kind, reason=reason, message=said)


def _report(row: NodeRow) -> NodeReport | None:
    """What a node last said; None also where that is of another release, which this one does not understand."""
    try:
        return row.last
    except ContractError:
        return None


def _said(at: float, report: NodeReport, state: Rollout) -> Heard:
    return Heard(
        node=report.node,
        ring=report.ring,
        at_seconds=at,
        release=report.release,
        model=report.model,
        state=report.state,
        healthy=report.healthy,
        problem=next(iter(report.problems), ""),
        refused=next((one.reason for one in report.quarantined if one.sha256 == state.sha256), None),
    )


def _rules(options: JobOptions) -> RolloutRules:
    usual = RolloutRules()
    minutes, share = options.rollout_minutes, options.rollout_failure_share
    return RolloutRules(
        reports=options.rollout_reports or usual.reports,
        seconds=usual.seconds if minutes is None else 60.0 * minutes,
        failure_share=usual.failure_share if share is None else share,
        approval=options.rollout == "approval",
    )


def _window(options: JobOptions, settings: HubSettings) -> Window | None:
    if options.maintenance_window is None:
        return None
    return Window(*options.maintenance_window, ZoneInfo(options.time_zone or settings.zone))
