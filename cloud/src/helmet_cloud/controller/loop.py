# SPDX-License-Identifier: Apache-2.0
"""The controller: every job at its own pace, none able to hold up or bring down another."""

from __future__ import annotations

import math
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from helmet_agent.errors import AgentError
from helmet_cloud.controller.crash_points import STATUS_WRITTEN, nothing
from helmet_cloud.controller.dataset_status import DatasetStatus
from helmet_cloud.controller.job import JobSteps
from helmet_cloud.controller.keeping import new_job, note
from helmet_cloud.controller.parts import Parts
from helmet_cloud.controller.plan import JobPlan, plan_of
from helmet_cloud.controller.regression import regression_file
from helmet_cloud.controller.status import tell
from helmet_cloud.datasets import DatasetReader
from helmet_cloud.resources.kinds import JOB
from helmet_cloud.store.events import EventRecorder
from helmet_cloud.store.rounds import JobRow, living_jobs

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from helmet_cloud.ports import Clock, ModelChannel, WorkerRunner
    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database
    from helmet_cloud.store.resources import ResourceStore

_log = structlog.get_logger(__name__)

STEPS_A_TICK = 20
"""Steps of one job before the next one has its turn."""

TICK_SECONDS = 0.5


class JobController:
    """Runs the loop of every job. For one thread; a second controller on the same database would be a fault.

    Args:
        home: the hub's folder and settings.
        database: of the hub.
        resources: Datasets, Models and jobs.
        runner: runs workers.
        channel: takes models that passed.
        clock: time.
        token: makes a worker's name unique; by default five random characters.
        reached: called at every point of ``crash_points``; only tests need it.
    """

    def __init__(  # noqa: PLR0917 - the composition root passes them by name
        self,
        home: HubHome,
        database: Database,
        resources: ResourceStore,
        runner: WorkerRunner,
        channel: ModelChannel,
        clock: Clock,
        *,
        token: Callable[[], str] = lambda: secrets.token_hex(3)[:5],
        reached: Callable[[str], None] = nothing,
    ) -> None:
        home = _absolute(home)
        self._parts = Parts(
            home=home,
            database=database,
            resources=resources,
            events=EventRecorder(resources),
            runner=runner,
            channel=channel,
            clock=clock,
            reader=DatasetReader(database),
            regression=lambda: regression_file(home),
            token=token,
            reached=reached,
        )
        self._steps = JobSteps(self._parts)
        self._datasets = DatasetStatus(self._parts)
        self._due: dict[str, tuple[float, Any]] = {}
        self._version = -1

    def run(self, stop: threading.Event) -> None:
        """Ticks until it is told to stop; no fault ends it."""
        while not stop.is_set():
            try:
                self.tick()
            except Exception:
                _log.exception("the controller could not look at its jobs; it tries again")
            stop.wait(TICK_SECONDS)

    def tick(self) -> None:
        """Takes every job that is due as far as it goes without waiting; costs one query while nothing is due."""
        version = self._parts.resources.version()
        due = min((at for at, _ in self._due.values()), default=math.inf)
        if version == self._version and self._parts.clock.monotonic() < min(due, self._datasets.due):
            return
        self._version = version
        self._datasets.tick()
        present: set[str] = set()
        for document in self._parts.resources.list(JOB.name):
            uid = document["metadata"]["uid"]
            present.add(uid)
            try:
                self._job(uid, document)
            except Exception:
                _log.exception("a job could not be looked at; it is tried again", job=document["metadata"].get("name"))
                self._postpone(uid, document, self._parts.home.settings.check_seconds)
        self._bury(present)

    def _job(self, uid: str, document: dict[str, Any]) -> None:
        at, mark = self._due.get(uid, (0.0, None))
        # A changed job is looked at at once; a changed status is our own doing.
        if self._parts.clock.monotonic() < at and mark == _mark(document):
            return
        plan = plan_of(document, self._parts.home.settings)
        self._meet(plan)
        wait = 0.0
        for _ in range(STEPS_A_TICK):
            try:
                wait = self._steps.step(plan)
            except AgentError as error:
                _log.warning("a job's step failed; it is done again", job=str(plan.spec.job), reason=str(error))
                note(self._parts, uid, f"{error} (tried again every {plan.train.check_seconds:g} s)")
                wait = plan.train.check_seconds
            tell(self._parts, uid)
            self._parts.reached(STATUS_WRITTEN)
            if wait > 0.0:
                break
        self._postpone(uid, document, wait)

    def _postpone(self, uid: str, document: dict[str, Any], seconds: float) -> None:
        self._due[uid] = (self._parts.clock.monotonic() + seconds, _mark(document))

    def _meet(self, plan: JobPlan) -> None:
        spec = plan.spec
        with self._parts.database.read() as session:
            if session.get(JobRow, spec.uid) is not None:
                return
        with self._parts.database.write() as session:
            now = self._parts.clock.now()
            session.add(new_job(plan, now))

    def _bury(self, present: set[str]) -> None:
        with self._parts.database.read() as session:
            gone = [uid for uid in living_jobs(session) if uid not in present]
        for uid in gone:
            self._steps.abandon(uid, "the job was deleted")
            with self._parts.database.write() as session:
                session.get_one(JobRow, uid).deleted = True
            self._due.pop(uid, None)


def _absolute(home: HubHome) -> HubHome:
    """Workers and links live in other folders than the hub: no path may depend on where the hub was started."""
    settings = replace(home.settings, rootfs=home.settings.rootfs.absolute())
    if settings.regression_set is not None:
        settings = replace(settings, regression_set=settings.regression_set.absolute())
    return replace(home, folder=home.folder.absolute(), settings=settings)


def _mark(document: dict[str, Any]) -> tuple[Any, Any]:
    return document["metadata"].get("generation"), document["metadata"].get("annotations")
