# SPDX-License-Identifier: Apache-2.0
"""Staged rollouts: how far each of them is, and every step that one ever took. Steps are only ever added."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Index, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from helmet_cloud.core.rollout import LIVING, Rollout, Seen
from helmet_cloud.store.base import Base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from helmet_cloud.ports import JobRef


class RolloutRow(Base):
    """How far the rollout of one release is."""

    __tablename__ = "rollouts"
    __table_args__ = (UniqueConstraint("namespace", "job", "release"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    namespace: Mapped[str] = mapped_column(String(253))
    job: Mapped[str] = mapped_column(String(253))
    release: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    phase: Mapped[str] = mapped_column(String(16))
    begun_seconds: Mapped[float]
    before: Mapped[int | None]
    promoted: Mapped[int | None]
    reason: Mapped[str] = mapped_column(Text)
    nodes: Mapped[dict[str, Any]] = mapped_column(JSON)

    def state(self) -> Rollout:
        """As the rules see it."""
        nodes = {name: Seen(**seen) for name, seen in self.nodes.items()}
        return Rollout(
            self.release, self.sha256, self.phase, self.begun_seconds, nodes, self.reason, self.before, self.promoted
        )


class RolloutStepRow(Base):
    """A step that a rollout took; the database itself refuses to change or remove one."""

    __tablename__ = "rollout_steps"
    __table_args__ = (Index("ix_rollout_steps_job", "namespace", "job"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    namespace: Mapped[str] = mapped_column(String(253))
    job: Mapped[str] = mapped_column(String(253))
    release: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    phase: Mapped[str] = mapped_column(String(16))
    at_seconds: Mapped[float]
    reason: Mapped[str] = mapped_column(Text)


def begin_rollout(session: Session, job: JobRef, state: Rollout) -> RolloutRow:
    """Writes down that a release is on its way."""
    row = RolloutRow(
        namespace=job.namespace,
        job=job.name,
        release=state.release,
        sha256=state.sha256,
        phase=state.phase,
        begun_seconds=state.begun_seconds,
        before=state.before,
        promoted=state.promoted,
        reason=state.reason,
        nodes={name: seen.to_json() for name, seen in state.nodes.items()},
    )
    session.add(row)
    session.flush()
    _step(session, row, state)
    return row


def keep_rollout(session: Session, row: RolloutRow, state: Rollout) -> RolloutRow:
    """Writes down a rollout's state; a new phase is a step as well."""
    row = session.merge(row)
    if state.phase != row.phase:
        _step(session, row, state)
    row.phase, row.begun_seconds, row.reason = state.phase, state.begun_seconds, state.reason
    row.before, row.promoted = state.before, state.promoted
    row.nodes = {name: seen.to_json() for name, seen in state.nodes.items()}
    return row


def last_rollout(session: Session, job: JobRef) -> RolloutRow | None:
    """The newest rollout of a job."""
    mine = (RolloutRow.namespace == job.namespace) & (RolloutRow.job == job.name)
    return session.scalars(select(RolloutRow).where(mine).order_by(RolloutRow.release.desc()).limit(1)).one_or_none()


def living_rollouts(session: Session) -> Sequence[RolloutRow]:
    """Those that have something left to do."""
    return session.scalars(select(RolloutRow).where(RolloutRow.phase.in_(LIVING))).all()


def rollout_steps(session: Session, job: JobRef | None = None) -> Sequence[RolloutStepRow]:
    """Every step, newest first."""
    wanted = select(RolloutStepRow)
    if job is not None:
        wanted = wanted.where((RolloutStepRow.namespace == job.namespace) & (RolloutStepRow.job == job.name))
    return session.scalars(wanted.order_by(RolloutStepRow.id.desc())).all()


def in_phase(state: Rollout, phase: str, reason: str, now: float, **more: Any) -> Rollout:
    """The state with another phase; the moment counts from there on."""
    return replace(state, phase=phase, reason=reason, begun_seconds=now, **more)


def _step(session: Session, row: RolloutRow, state: Rollout) -> None:
    session.add(
        RolloutStepRow(
            namespace=row.namespace,
            job=row.job,
            release=row.release,
            sha256=row.sha256,
            phase=state.phase,
            at_seconds=state.begun_seconds,
            reason=state.reason,
        )
    )
