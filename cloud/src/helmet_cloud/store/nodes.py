# SPDX-License-Identifier: Apache-2.0
"""Nodes: who was enrolled, what each of them last said of itself, and when that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, ForeignKey, Index, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from helmet_agent.contract import NodeReport
from helmet_cloud.core.exposure import Member
from helmet_cloud.errors import BadRequest, Conflict, NotFound
from helmet_cloud.store.base import Base
from helmet_cloud.store.tokens import NAME_PATTERN, NODE, TokenRow, add_token, revoke

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

RINGS = ("stable", "canary")
HISTORY = 100
"""Changes that are kept of one node."""
STALE_SECONDS = 300.0
"""A node that said nothing for so long is shown as stale."""

ADDED, CHANGED, UNCHANGED = "added", "changed", "unchanged"
"""What enrolling a node did."""


class NodeRow(Base):
    """A node that was enrolled."""

    __tablename__ = "nodes"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    ring: Mapped[str] = mapped_column(String(128))
    added_seconds: Mapped[float]
    revoked_seconds: Mapped[float | None]
    seen_seconds: Mapped[float | None]
    model: Mapped[str | None] = mapped_column(String(64), index=True)
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)

    @property
    def last(self) -> NodeReport | None:
        """What it last said."""
        return None if self.report is None else NodeReport.from_json(self.report)

    def stale(self, now: float) -> bool:
        """Whether it has been silent for too long, or never spoke."""
        return self.seen_seconds is None or now - self.seen_seconds > STALE_SECONDS


class NodeChangeRow(Base):
    """A report that said something new: another model, state, health, version or job."""

    __tablename__ = "node_changes"
    __table_args__ = (Index("ix_node_changes_node", "node", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    node: Mapped[str] = mapped_column(ForeignKey("nodes.name"))
    received_seconds: Mapped[float]
    report: Mapped[dict[str, Any]] = mapped_column(JSON)


def token_name(node: str) -> str:
    """What a node's token is called; its scope is called the same."""
    return f"{NODE}:{node}"


def add_node(session: Session, name: str, sha256: str, ring: str | None, now: float, *, replace: bool = False) -> str:
    """Enrols a node with the digest of the token that it made; returns ADDED, CHANGED or UNCHANGED.

    Args:
        session: a write transaction.
        name: letters, digits, ``.``, ``_`` and ``-``.
        sha256: digest of its token.
        ring: ``stable`` or ``canary``; None: as it was, ``stable`` for a new one.
        now: Unix time in seconds.
        replace: whether another token than the node has now may take its place; the old one is revoked then.

    Raises:
        BadRequest: name, digest or ring cannot be right.
        Conflict: the node has another token, or the token was revoked or is another node's.
    """
    if not NAME_PATTERN.match(name):
        raise BadRequest(f"node name: expected letters, digits, '.', '_' and '-', found {name[:140]!r}")
    if ring is not None and ring not in RINGS:
        raise BadRequest(f"ring: expected {' or '.join(RINGS)}, found {ring[:40]!r}")
    row = session.get(NodeRow, name)
    good = select(TokenRow.sha256).where(TokenRow.name == token_name(name), TokenRow.revoked_seconds.is_(None))
    others = [found for found in session.scalars(good) if found != sha256]
    if others and not replace:
        raise Conflict(f"the node {name} has another token: revoke it, or add --replace when the node was made anew")
    if others:
        revoke(session, token_name(name), now)
    fresh = add_token(session, token_name(name), sha256, [token_name(name)], now)
    if row is None:
        session.add(NodeRow(name=name, ring=ring or RINGS[0], added_seconds=now))
        session.flush()
        return ADDED
    changed = fresh or row.revoked_seconds is not None or ring not in (None, row.ring)
    row.revoked_seconds = None
    row.ring = ring or row.ring
    return CHANGED if changed else UNCHANGED


def revoke_node(session: Session, name: str, now: float) -> bool:
    """Refuses a node's token from now on; False when it is refused already.

    Raises:
        NotFound: no node has that name.
    """
    row = session.get(NodeRow, name)
    if row is None:
        raise NotFound(f"no node is called {name[:140]}")
    revoke(session, token_name(name), now)
    if row.revoked_seconds is not None:
        return False
    row.revoked_seconds = now
    return True


def take_report(session: Session, report: NodeReport, now: float) -> None:
    """Keeps what a node says of itself; in the history too when it says something new.

    Raises:
        NotFound: no node has that name.
    """
    row = session.get(NodeRow, report.node)
    if row is None:
        raise NotFound(f"no node is called {report.node}")
    document = report.to_json()
    if row.report is None or _told(row.report) != _told(document):
        session.add(NodeChangeRow(node=report.node, received_seconds=now, report=document))
        session.flush()
        kept = select(NodeChangeRow.id).where(NodeChangeRow.node == report.node).order_by(NodeChangeRow.id.desc())
        oldest = session.scalar(kept.offset(HISTORY - 1).limit(1))
        if oldest is not None:
            session.execute(delete(NodeChangeRow).where(NodeChangeRow.node == report.node, NodeChangeRow.id < oldest))
    row.report = document
    row.model = report.model
    row.seen_seconds = now


def list_nodes(session: Session) -> Sequence[NodeRow]:
    """All that were ever enrolled, by name."""
    return session.scalars(select(NodeRow).order_by(NodeRow.name)).all()


def members(session: Session) -> list[Member]:
    """Every node that is enrolled and not revoked, as far as it matters for who takes a model."""
    rows = [row for row in list_nodes(session) if row.revoked_seconds is None]
    return [member(row.ring, row.added_seconds, row.seen_seconds, row.report or {}) for row in rows]


def member(ring: str, added_seconds: float, seen_seconds: float | None, report: dict[str, Any]) -> Member:
    """One of them; a report that does not say which job it follows counts as none."""
    at = max(added_seconds, seen_seconds or 0.0)
    return Member(str(report.get("ring", ring)), report.get("job"), "job" in report, at)


def node_history(session: Session, name: str) -> Sequence[NodeChangeRow]:
    """Changes of one node, newest first.

    Raises:
        NotFound: no node has that name.
    """
    if session.get(NodeRow, name) is None:
        raise NotFound(f"no node is called {name[:140]!r}")
    return session.scalars(
        select(NodeChangeRow).where(NodeChangeRow.node == name).order_by(NodeChangeRow.id.desc())
    ).all()


def _told(report: dict[str, Any]) -> dict[str, Any]:
    """What of a report is worth remembering when it changes: all but the figures that always do."""
    return {key: value for key, value in report.items() if key not in ("sent_seconds", "rates")}
