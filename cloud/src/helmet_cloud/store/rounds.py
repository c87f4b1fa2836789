# SPDX-License-Identifier: Apache-2.0
"""Jobs as the controller knows them, their rounds, and where a model comes from.

Everything the loop decides is here before it is done, so that a hub that was killed goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, mapped_column

from helmet_cloud.errors import BadRequest, NotFound
from helmet_cloud.store.base import Base
from helmet_cloud.store.examples import example_origins
from helmet_cloud.store.samples import version_members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

RUNNING = "running"
ACCEPTED, REFUSED, FAILED, CANCELLED = "accepted", "refused", "failed", "cancelled"


class JobRow(Base):
    """Where a job stands; one row for each object, so a job made again after a deletion begins anew."""

    __tablename__ = "job_states"

    uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    namespace: Mapped[str] = mapped_column(String(253))
    name: Mapped[str] = mapped_column(String(253))
    created_seconds: Mapped[float]
    deleted: Mapped[bool] = mapped_column(default=False)
    generation: Mapped[int]
    retry: Mapped[str | None]
    state: Mapped[dict[str, Any]] = mapped_column(JSON)
    conditions: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    told: Mapped[int] = mapped_column(default=0)


class RoundRow(Base):
    """One round of a job: what went in, what came out, and why it ended as it did."""

    __tablename__ = "rounds"
    __table_args__ = (UniqueConstraint("job", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job: Mapped[str] = mapped_column(ForeignKey("job_states.uid"), index=True)
    number: Mapped[int]
    output_dir: Mapped[str] = mapped_column(index=True)
    status: Mapped[str] = mapped_column(String(16))
    opened_seconds: Mapped[float]
    closed_seconds: Mapped[float | None]
    train_version: Mapped[str] = mapped_column(ForeignKey("dataset_versions.digest"))
    eval_version: Mapped[str] = mapped_column(ForeignKey("dataset_versions.digest"))
    replay_version: Mapped[str | None] = mapped_column(ForeignKey("dataset_versions.digest"))
    replay_missing: Mapped[int] = mapped_column(default=0)
    dataset_file: Mapped[str]
    base_folder: Mapped[str]
    base_sha256: Mapped[str | None] = mapped_column(String(64))
    old_folder: Mapped[str]
    model_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    release: Mapped[int | None]
    decision: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    reason: Mapped[str | None]


def next_number(session: Session, job: str, output_dir: str) -> int:
    """One more than the highest round of this job, and of every other job that writes to the same folder."""
    wanted = select(func.max(RoundRow.number)).where((RoundRow.output_dir == output_dir) | (RoundRow.job == job))
    return (session.scalar(wanted) or 0) + 1


def round_of(session: Session, job: str, number: int) -> RoundRow:
    """A round of a job.

    Raises:
        NotFound: it has none of that number.
    """
    row = session.scalar(select(RoundRow).where(RoundRow.job == job, RoundRow.number == number))
    if row is None:
        raise NotFound(f"job {job} has no round {number}")
    return row


def last_round(session: Session, job: str, *status: str) -> RoundRow | None:
    """The newest round of a job, of all or of some statuses."""
    wanted = select(RoundRow).where(RoundRow.job == job)
    if status:
        wanted = wanted.where(RoundRow.status.in_(status))
    return session.scalar(wanted.order_by(RoundRow.number.desc()).limit(1))


def rounds_of(session: Session, job: str) -> Sequence[RoundRow]:
    """All rounds of a job, oldest first."""
    return session.scalars(select(RoundRow).where(RoundRow.job == job).order_by(RoundRow.number)).all()


def living_jobs(session: Session) -> Sequence[str]:
    """Uids of the jobs that nobody has deleted, as far as the controller knows."""
    return session.scalars(select(JobRow.uid).where(JobRow.deleted.is_(False))).all()


@dataclass(frozen=True, slots=True)
class LineageSample:
    """A sample that a model was trained on; node, source and time are known for the hub's own examples."""

    sha256: str
    labels: str
    path: str
    node: str | None
    source: str | None
    time_seconds: float | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a model comes from.

    Attributes:
        model: sha256 of its int8 file.
        job: ``namespace/name``.
        round: number of the round that made it.
        status: how that round ended, or ``running``.
        release: under which it was published; None when it never was.
        dataset: digest of the data-set version it was trained on; ``evaluated_on`` of the one it was measured on.
        parent: digest of the model that training started from, if it is known.
        ancestors: digests of the models before it, nearest first, as far as rounds of this hub made them.
        reason: what the gate said.
        samples: what it was trained on.
        nodes: names of the nodes whose examples are among them, sorted.
    """

    model: str
    job: str
    round: int
    status: str
    release: int | None
    dataset: str
    evaluated_on: str
    parent: str | None
    ancestors: tuple[str, ...]
    reason: str | None
    samples: tuple[LineageSample, ...]
    nodes: tuple[str, ...]


def lineage(session: Session, digest: str) -> Lineage:
    """From a model back to job, round, data set, examples and nodes.

    Args:
        session: a view of the database.
        digest: of the int8 file, or the beginning of it.

    Raises:
        NotFound: no round of this hub made such a model.
        BadRequest: several models begin so.
    """
    row = _maker(session, digest)
    job = session.get_one(JobRow, row.job)
    samples = _samples(session, row.train_version)
    return Lineage(
        model=str(row.model_sha256),
        job=f"{job.namespace}/{job.name}",
        round=row.number,
        status=row.status,
        release=row.release,
        dataset=row.train_version,
        evaluated_on=row.eval_version,
        parent=row.base_sha256,
        ancestors=_ancestors(session, row),
        reason=row.reason,
        samples=samples,
        nodes=tuple(sorted({one.node for one in samples if one.node is not None})),
    )


def _maker(session: Session, digest: str) -> RoundRow:
    # A later round that made the very same file says nothing new; the one that got it accepted says most.
    wanted = select(RoundRow).where(RoundRow.model_sha256.startswith(digest, autoescape=True))
    rows = session.scalars(wanted.order_by(RoundRow.status != ACCEPTED, RoundRow.id)).all()
    if not rows or not digest:
        raise NotFound(f"no round of this hub made a model {digest or '(no digest given)'}")
    if len({row.model_sha256 for row in rows}) > 1:
        raise BadRequest(f"several models begin with {digest}: give more digits")
    return rows[0]


def _ancestors(session: Session, row: RoundRow) -> tuple[str, ...]:
    found: list[str] = []
    parent = row.base_sha256
    while parent is not None and parent not in found:
        found.append(parent)
        wanted = select(RoundRow.base_sha256).where(RoundRow.model_sha256 == parent, RoundRow.status == ACCEPTED)
        parent = session.scalar(wanted.order_by(RoundRow.id).limit(1))
    return tuple(found)


def _samples(session: Session, version: str) -> tuple[LineageSample, ...]:
    members = version_members(session, version)
    origins = example_origins(session, [sha256 for sha256, _, _ in members])
    found = []
    for sha256, labels, path in members:
        origin = origins.get(sha256)
        told = (None, None, None) if origin is None else (origin.node, origin.source, origin.time_seconds)
        found.append(LineageSample(sha256, labels, path, *told))
    return tuple(found)
