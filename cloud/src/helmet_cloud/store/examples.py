# SPDX-License-Identifier: Apache-2.0
"""Rows of hard examples: what their records say, and which data sets use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import JSON, ForeignKey, Index, String, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, mapped_column

from helmet_agent.contract import ExampleRecord
from helmet_cloud.store.base import Base

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from sqlalchemy.orm import Session

T = TypeVar("T")

PENDING, LABELLED = "pending", "labelled"
"""States: no data set uses the example; at least one does."""
STATES = (PENDING, LABELLED)

_AT_ONCE = 500  # values in one statement; SQLite takes a bounded number


class ExampleRow(Base):
    """One example; its picture lies in the folder of pictures before the row is there."""

    __tablename__ = "examples"
    __table_args__ = (
        Index("ix_examples_state", "state", "received_seconds", "size_bytes"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    node: Mapped[str] = mapped_column(String(128), index=True)
    source: Mapped[str] = mapped_column(String(512))
    frame: Mapped[int]
    time_seconds: Mapped[float]
    width: Mapped[int]
    height: Mapped[int]
    model: Mapped[str] = mapped_column(String(64))
    rule: Mapped[str] = mapped_column(String(512))
    value: Mapped[float]
    detections: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    size_bytes: Mapped[int]
    received_seconds: Mapped[float]
    state: Mapped[str] = mapped_column(String(16))

    def record(self) -> ExampleRecord:
        """The record as the node sent it."""
        wire = {name: getattr(self, name) for name in _RECORD_FIELDS}
        return ExampleRecord.from_json({"schema": 1, **wire})


_RECORD_FIELDS = (
    *("sha256", "node", "source", "frame", "time_seconds", "width", "height", "model", "rule", "value"),
    "detections",
)


class UseRow(Base):
    """A data set that uses an example, and the labels that it got there, all of what was said about them."""

    __tablename__ = "example_uses"

    sha256: Mapped[str] = mapped_column(ForeignKey("examples.sha256"), primary_key=True)
    namespace: Mapped[str] = mapped_column(String(253), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(253), primary_key=True)
    picture: Mapped[str] = mapped_column(String(512))
    labels: Mapped[dict[str, Any]] = mapped_column(JSON)
    labelled_seconds: Mapped[float]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an example comes from.

    Attributes:
        node: that saw it.
        source: of that node, free of credentials.
        time_seconds: when the frame was taken, Unix time of the node.
    """

    node: str
    source: str
    time_seconds: float


def add_examples(
    session: Session,
    records: Iterable[tuple[ExampleRecord, int]],
    now: float,
    known: Container[str] | None = None,
) -> set[str]:
    """Adds rows for examples; returns the digests that were new.

    Args:
        session: a write transaction.
        records: each with the size of its picture in bytes.
        now: Unix time in seconds.
        known: digests that have rows, if this transaction has looked already.
    """
    rows = {
        record.sha256: {
            **{name: value for name, value in record.to_json().items() if name in _RECORD_FIELDS},
            "size_bytes": size,
            "received_seconds": now,
            "state": PENDING,
        }
        for record, size in records
    }
    there = known_examples(session, rows) if known is None else known
    fresh = {sha256: row for sha256, row in rows.items() if sha256 not in there}
    if fresh:
        session.execute(insert(ExampleRow), list(fresh.values()))
    return set(fresh)


def known_examples(session: Session, digests: Iterable[str]) -> dict[str, str]:
    """The state of those that there are."""
    found: dict[str, str] = {}
    for some in _batches(digests):
        query = select(ExampleRow.sha256, ExampleRow.state).where(ExampleRow.sha256.in_(some))
        found.update((row.sha256, row.state) for row in session.execute(query))
    return found


def known_in_shard(session: Session, prefix: str) -> list[str]:
    """Digests that begin with some hexadecimal digits."""
    after = f"{prefix}g"  # behind every digit
    return list(session.scalars(select(ExampleRow.sha256).where(ExampleRow.sha256.between(prefix, after))))


def find_example(session: Session, sha256: str) -> ExampleRow | None:
    """One example."""
    return session.scalars(select(ExampleRow).where(ExampleRow.sha256 == sha256)).one_or_none()


def list_examples(
    session: Session,
    *,
    state: str | None = None,
    node: str | None = None,
    rule: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> Sequence[ExampleRow]:
    """Examples in the order of their arrival, from the one after row ``after``."""
    query = select(ExampleRow).where(ExampleRow.id > after)
    for column, wanted in ((ExampleRow.state, state), (ExampleRow.node, node), (ExampleRow.rule, rule)):
        if wanted is not None:
            query = query.where(column == wanted)
    return session.scalars(query.order_by(ExampleRow.id).limit(limit)).all()


def example_origin(session: Session, sha256: str) -> Origin | None:
    """Where a picture comes from, by the digest of its file; None when it is no example."""
    return example_origins(session, [sha256]).get(sha256)


def example_origins(session: Session, digests: Iterable[str]) -> dict[str, Origin]:
    """As ``example_origin`` for many pictures; those that are no examples are left out."""
    found: dict[str, Origin] = {}
    for some in _batches(digests):
        columns = select(ExampleRow.sha256, ExampleRow.node, ExampleRow.source, ExampleRow.time_seconds)
        for row in session.execute(columns.where(ExampleRow.sha256.in_(some))):
            found[row.sha256] = Origin(row.node, row.source, row.time_seconds)
    return found


def count_examples(session: Session) -> dict[str, tuple[int, int]]:
    """How many there are and how many bytes their pictures have, by state."""
    columns = select(ExampleRow.state, func.count(), func.sum(ExampleRow.size_bytes)).group_by(ExampleRow.state)
    found = {state: (count, int(size)) for state, count, size in session.execute(columns)}
    return {state: found.get(state, (0, 0)) for state in STATES}


def received_before(session: Session, moment: float, limit: int) -> list[str]:
    """Digests of examples that no data set uses and that arrived before a moment, oldest first."""
    query = select(ExampleRow.sha256).where(ExampleRow.state == PENDING, ExampleRow.received_seconds < moment)
    return list(session.scalars(query.order_by(ExampleRow.received_seconds).limit(limit)))


def remove_examples(session: Session, digests: Iterable[str]) -> None:
    """Forgets examples that no data set uses."""
    for some in _batches(digests):
        session.execute(delete(ExampleRow).where(ExampleRow.sha256.in_(some), ExampleRow.state == PENDING))


def use_examples(
    session: Session, namespace: str, dataset: str, used: Iterable[tuple[str, str, dict[str, Any]]], now: float
) -> None:
    """Notes that a data set uses examples, replacing what was noted before.

    Args:
        session: a write transaction.
        namespace: of the Dataset.
        dataset: its name.
        used: digest of the example, name of its picture in the data set, its labels.
        now: Unix time in seconds.
    """
    for some in _batches(used):
        rows = [
            {
                "sha256": sha256,
                "namespace": namespace,
                "dataset": dataset,
                "picture": picture,
                "labels": labels,
                "labelled_seconds": now,
            }
            for sha256, picture, labels in some
        ]
        statement = insert(UseRow)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["sha256", "namespace", "dataset"],
                set_={name: statement.excluded[name] for name in ("picture", "labels", "labelled_seconds")},
            ),
            rows,
        )
        digests = [row["sha256"] for row in rows]
        session.execute(update(ExampleRow).where(ExampleRow.sha256.in_(digests)).values(state=LABELLED))


def uses_of(session: Session, digests: Iterable[str]) -> dict[str, list[UseRow]]:
    """The data sets that use examples, by digest; the latest labels first."""
    found: dict[str, list[UseRow]] = {}
    for some in _batches(digests):
        query = select(UseRow).where(UseRow.sha256.in_(some))
        for row in session.scalars(query.order_by(UseRow.labelled_seconds.desc(), UseRow.namespace, UseRow.dataset)):
            found.setdefault(row.sha256, []).append(row)
    return found


def _batches(values: Iterable[T]) -> Iterator[list[T]]:
    every = list(values)
    for start in range(0, len(every), _AT_ONCE):
        yield every[start : start + _AT_ONCE]
