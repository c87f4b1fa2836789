# SPDX-License-Identifier: Apache-2.0
"""Which samples a job has seen and used, immutable data-set versions, and what is known of pictures by path."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ForeignKey, Index, String, delete, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from helmet_cloud.core.versions import version_digest
from helmet_cloud.store.base import Base

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session

BATCH = 500  # rows a statement; SQLite takes a limited number of values at once


class SampleRow(Base):
    """A sample as a job knows it, by the sha256 of its picture.

    Its side is decided when it is first seen and stays: what once evaluated never trains. ``tried_round`` is the last
    round that trained on it, ``used_round`` the accepted one that used it up.
    """

    __tablename__ = "job_samples"
    __table_args__ = (Index("ix_job_samples_pending", "job", "side", "used_round", "tried_round"),)

    job: Mapped[str] = mapped_column(ForeignKey("job_states.uid"), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    side: Mapped[str] = mapped_column(String(8))
    sample_group: Mapped[str]
    first_seen_seconds: Mapped[float]
    tried_round: Mapped[int | None]
    used_round: Mapped[int | None]


class VersionRow(Base):
    """A data-set version; its digest is over its samples and labels."""

    __tablename__ = "dataset_versions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    dataset: Mapped[str]
    samples: Mapped[int]
    created_seconds: Mapped[float]


class VersionSampleRow(Base):
    """A sample of a version, with the labels that it had and the place where its picture lay."""

    __tablename__ = "dataset_version_samples"

    digest: Mapped[str] = mapped_column(ForeignKey("dataset_versions.digest"), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    labels: Mapped[str]
    path: Mapped[str]


class PictureRow(Base):
    """What was found in a picture's file when it had this size and time; so that it is not decoded at every poll."""

    __tablename__ = "dataset_pictures"

    dataset: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int]
    changed_ns: Mapped[int]
    sha256: Mapped[str | None] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    problem: Mapped[str | None]


class SampleState(NamedTuple):
    """Where a sample of a job stands; see ``SampleRow``. Light, since there are many."""

    side: str
    tried_round: int | None
    used_round: int | None


class KnownPicture(NamedTuple):
    """What was found in a picture's file; see ``PictureRow``."""

    size_bytes: int
    changed_ns: int
    sha256: str | None
    width: int
    height: int
    problem: str | None


Member = tuple[str, str, str]
"""A sample of a version: sha256, labels as in a Sedna line, path of the picture."""


def keep_version(session: Session, dataset: str, members: Iterable[Member], now: float) -> str:
    """Keeps a data-set version unless it is there; returns its digest.

    Args:
        session: a transaction.
        dataset: ``namespace/name``, for people.
        members: distinct by their sha256.
        now: Unix time in seconds.
    """
    known = sorted(members)
    digest = version_digest((sha256, labels) for sha256, labels, _ in known)
    if session.get(VersionRow, digest) is None:
        session.add(VersionRow(digest=digest, dataset=dataset, samples=len(known), created_seconds=now))
        session.flush()
        for start in range(0, len(known), BATCH):
            rows = [
                {"digest": digest, "sha256": sha256, "labels": labels, "path": path}
                for sha256, labels, path in known[start : start + BATCH]
            ]
            session.execute(insert(VersionSampleRow), rows)
    return digest


def version_members(session: Session, digest: str) -> list[Member]:
    """The samples of a version, by sha256; none for an unknown one."""
    wanted = select(VersionSampleRow.sha256, VersionSampleRow.labels, VersionSampleRow.path)
    found = session.execute(wanted.where(VersionSampleRow.digest == digest).order_by(VersionSampleRow.sha256))
    return [(sha256, labels, path) for sha256, labels, path in found]


def samples_of(session: Session, job: str) -> dict[str, SampleState]:
    """All samples that a job has ever seen, by sha256."""
    wanted = select(SampleRow.sha256, SampleRow.side, SampleRow.tried_round, SampleRow.used_round)
    rows = session.execute(wanted.where(SampleRow.job == job))
    return {sha256: SampleState(side, tried, used) for sha256, side, tried, used in rows}


def sample_groups(session: Session, job: str) -> dict[str, str]:
    """The group of every sample that a job has ever seen, by sha256."""
    rows = session.execute(select(SampleRow.sha256, SampleRow.sample_group).where(SampleRow.job == job))
    return {row.sha256: row.sample_group for row in rows}


def add_samples(session: Session, job: str, found: Sequence[tuple[str, str, str]], now: float) -> None:
    """Notes samples that a job sees for the first time: (sha256, side, group)."""
    for start in range(0, len(found), BATCH):
        rows = [
            {"job": job, "sha256": sha256, "side": side, "sample_group": group, "first_seen_seconds": now}
            for sha256, side, group in found[start : start + BATCH]
        ]
        session.execute(insert(SampleRow), rows)


def mark_tried(session: Session, job: str, sha256s: Sequence[str], number: int) -> None:
    """Notes that a round trains on these."""
    for start in range(0, len(sha256s), BATCH):
        some = sha256s[start : start + BATCH]
        chosen = update(SampleRow).where(SampleRow.job == job, SampleRow.sha256.in_(some))
        session.execute(chosen.values(tried_round=number))


def mark_used(session: Session, job: str, number: int) -> None:
    """Uses up the samples of a round, because its model was accepted."""
    chosen = update(SampleRow).where(SampleRow.job == job, SampleRow.tried_round == number)
    session.execute(chosen.where(SampleRow.used_round.is_(None)).values(used_round=number))


def try_again(session: Session, job: str) -> None:
    """Lets pending samples that were tried in vain count as new."""
    chosen = update(SampleRow).where(SampleRow.job == job, SampleRow.used_round.is_(None))
    session.execute(chosen.values(tried_round=None))


def known_pictures(session: Session, dataset: str) -> dict[str, KnownPicture]:
    """What is known of a data set's pictures, by path."""
    columns = (getattr(PictureRow, name) for name in KnownPicture._fields)
    rows = session.execute(select(PictureRow.path, *columns).where(PictureRow.dataset == dataset))
    return {path: KnownPicture(*found) for path, *found in rows}


def keep_pictures(session: Session, dataset: str, looked_at: Mapping[str, KnownPicture]) -> None:
    """Replaces what is known of some pictures."""
    paths = list(looked_at)
    for start in range(0, len(paths), BATCH):
        some = paths[start : start + BATCH]
        session.execute(delete(PictureRow).where(PictureRow.dataset == dataset, PictureRow.path.in_(some)))
        rows = [{"dataset": dataset, "path": path, **looked_at[path]._asdict()} for path in some]
        session.execute(insert(PictureRow), rows)
