# SPDX-License-Identifier: Apache-2.0
"""The registry of models and the history of what went out where, when and why; history rows are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, mapped_column

from helmet_cloud.store.base import Base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from helmet_cloud.ports import JobRef

PENDING, PUBLISHED, ABANDONED = "pending", "published", "abandoned"
"""Written down before the channel changes; the change was seen through; it was not, and nobody saw its release."""


class ModelRow(Base):
    """A model that the hub keeps, by the digest of its int8 file."""

    __tablename__ = "models"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    size_bytes: Mapped[int]
    parent: Mapped[str | None] = mapped_column(String(64))
    dataset: Mapped[str | None] = mapped_column(String(64))
    origin: Mapped[str] = mapped_column(String(600))
    added_seconds: Mapped[float]


class PublicationRow(Base):
    """One publication: a model under a release number in a ring of a job."""

    __tablename__ = "publications"
    __table_args__ = (
        UniqueConstraint("namespace", "job", "release"),
        Index("ix_publications_ring", "namespace", "job", "ring"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    namespace: Mapped[str] = mapped_column(String(253))
    job: Mapped[str] = mapped_column(String(253))
    ring: Mapped[str] = mapped_column(String(32))
    release: Mapped[int]
    sha256: Mapped[str] = mapped_column(ForeignKey("models.sha256"))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)
    manifest: Mapped[str] = mapped_column(Text)
    begun_seconds: Mapped[float]
    finished_seconds: Mapped[float | None]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is written down about a model when it is first seen."""

    sha256: str
    name: str
    size_bytes: int
    parent: str | None
    dataset: str | None
    origin: str


def register_model(session: Session, facts: ModelFacts, now: float) -> ModelRow:
    """The model's row; made when the model is new. What is known stays, what was unknown is filled in."""
    row = session.get(ModelRow, facts.sha256)
    if row is None:
        row = ModelRow(
            sha256=facts.sha256,
            name=facts.name,
            size_bytes=facts.size_bytes,
            parent=facts.parent,
            dataset=facts.dataset,
            origin=facts.origin,
            added_seconds=now,
        )
        session.add(row)
        session.flush()
    row.parent = row.parent or facts.parent
    row.dataset = row.dataset or facts.dataset
    return row


def find_models(session: Session, digest: str = "") -> Sequence[ModelRow]:
    """Models whose digest begins so, oldest first."""
    found = select(ModelRow).where(ModelRow.sha256.startswith(digest, autoescape=True))
    return session.scalars(found.order_by(ModelRow.added_seconds, ModelRow.sha256)).all()


def last_release(session: Session, job: JobRef) -> int:
    """The highest release that the job ever began to publish, in any ring; 0 when there is none."""
    highest = select(func.max(PublicationRow.release)).where(_of(job))
    return session.scalar(highest) or 0


def begin_publication(
    session: Session, job: JobRef, ring: str, release: int, *, sha256: str, manifest: str, reason: str, now: float
) -> PublicationRow:
    """Writes down what is about to be published."""
    row = PublicationRow(
        namespace=job.namespace,
        job=job.name,
        ring=ring,
        release=release,
        sha256=sha256,
        state=PENDING,
        reason=reason,
        manifest=manifest,
        begun_seconds=now,
        finished_seconds=None,
    )
    session.add(row)
    session.flush()
    return row


def pending_publications(session: Session) -> Sequence[PublicationRow]:
    """Those that were begun and neither finished nor given up."""
    return session.scalars(select(PublicationRow).where(PublicationRow.state == PENDING)).all()


def publications(session: Session, job: JobRef | None = None, ring: str | None = None) -> Sequence[PublicationRow]:
    """The history, newest first."""
    wanted = select(PublicationRow)
    if job is not None:
        wanted = wanted.where(_of(job))
    if ring is not None:
        wanted = wanted.where(PublicationRow.ring == ring)
    return session.scalars(wanted.order_by(PublicationRow.id.desc())).all()


def with_end(rows: Sequence[PublicationRow]) -> list[tuple[PublicationRow, float | None]]:
    """Publications, newest first, each with when the next one took its place; None: it is live, or never was."""
    ended: dict[tuple[str, str, str], float | None] = {}
    found = []
    for row in rows:
        ring = (row.namespace, row.job, row.ring)
        found.append((row, ended.get(ring) if row.state == PUBLISHED else None))
        if row.state == PUBLISHED:
            ended[ring] = row.finished_seconds
    return found


def count_publications(session: Session) -> dict[tuple[str, str], int]:
    """How many went out, by job (``namespace/name``) and ring."""
    counted = (
        select(PublicationRow.namespace, PublicationRow.job, PublicationRow.ring, func.count())
        .where(PublicationRow.state == PUBLISHED)
        .group_by(PublicationRow.namespace, PublicationRow.job, PublicationRow.ring)
    )
    return {(f"{space}/{job}", ring): count for space, job, ring, count in session.execute(counted)}


def _of(job: JobRef) -> ColumnElement[bool]:
    return (PublicationRow.namespace == job.namespace) & (PublicationRow.job == job.name)
