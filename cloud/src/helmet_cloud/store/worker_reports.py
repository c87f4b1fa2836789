# SPDX-License-Identifier: Apache-2.0
"""Which workers were started, and what they reported: kept, so that a report outlives the hub that took it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, ForeignKey, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from helmet_cloud.errors import Conflict, NotFound
from helmet_cloud.ports import JobRef, WorkerReport
from helmet_cloud.store.base import Base

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from helmet_cloud.store.database import Database

PROGRESS = "running"
KEPT_REPORTS = 64
"""Of one worker, the newest: one that reports in a loop must not fill the disk."""


class WorkerRow(Base):
    """A worker that was started, ever."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    job: Mapped[str]
    kind: Mapped[str]
    started_seconds: Mapped[float]


class WorkerReportRow(Base):
    """One report, in the order of ids."""

    __tablename__ = "worker_reports"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    worker: Mapped[str] = mapped_column(ForeignKey("workers.name", ondelete="CASCADE"), index=True)
    received_seconds: Mapped[float]
    kind: Mapped[str]
    status: Mapped[str]
    results: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    owner_info: Mapped[dict[str, Any]] = mapped_column(JSON)


class WorkerReports:
    """Workers and their reports; safe to use from any thread.

    Args:
        database: the hub's.
        now: Unix time in seconds.
    """

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def register(self, name: str, job: JobRef, kind: str) -> None:
        """Makes a worker known, before it starts: from then on it may report.

        Raises:
            Conflict: there was one of that name already.
        """
        with self._database.write() as session:
            if session.get(WorkerRow, name) is not None:
                raise Conflict(f"worker {name} was started before; names are used once")
            session.add(
                WorkerRow(name=name, namespace=job.namespace, job=job.name, kind=kind, started_seconds=self._now())
            )

    def owner(self, name: str) -> tuple[JobRef, str]:
        """The job and kind of a worker.

        Raises:
            NotFound: nobody started it.
        """
        with self._database.read() as session:
            row = session.get(WorkerRow, name)
            if row is None:
                raise NotFound(f"unknown worker {name}")
            return JobRef(row.namespace, row.job), row.kind

    def add(self, report: WorkerReport) -> None:
        """Keeps a report; when this returns it survives a power cut.

        A repeat of the last one changes nothing, and progress replaces the progress before it.

        Raises:
            NotFound: nobody started that worker.
        """
        with self._database.write() as session:
            if session.get(WorkerRow, report.worker) is None:
                raise NotFound(f"unknown worker {report.worker}")
            rows = _rows(session, report.worker)
            last = rows[-1] if rows else None
            if last is not None and _report(last) == report:
                return
            if last is not None and last.status == PROGRESS:
                session.delete(last)
            for row in rows[: max(0, len(rows) + 1 - KEPT_REPORTS)]:
                session.delete(row)
            session.add(
                WorkerReportRow(
                    worker=report.worker,
                    received_seconds=self._now(),
                    kind=report.kind,
                    status=report.status,
                    results=list(report.results),
                    owner_info=report.owner_info,
                )
            )

    def of(self, name: str) -> tuple[WorkerReport, ...]:
        """All kept reports of a worker, oldest first; none for an unknown one."""
        with self._database.read() as session:
            return tuple(_report(row) for row in _rows(session, name))

    def forget(self, before_seconds: float) -> int:
        """Removes workers that were started before a Unix time, with their reports; returns how many."""
        with self._database.write() as session:
            old = session.scalars(select(WorkerRow.name).where(WorkerRow.started_seconds < before_seconds)).all()
            session.execute(delete(WorkerReportRow).where(WorkerReportRow.worker.in_(old)))
            session.execute(delete(WorkerRow).where(WorkerRow.name.in_(old)))
            return len(old)


def _rows(session: Session, name: str) -> list[WorkerReportRow]:
    query = select(WorkerReportRow).where(WorkerReportRow.worker == name).order_by(WorkerReportRow.id)
    return list(session.scalars(query))


def _report(row: WorkerReportRow) -> WorkerReport:
    return WorkerReport(row.worker, row.kind, row.status, tuple(row.results), row.owner_info)
