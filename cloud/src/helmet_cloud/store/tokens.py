# SPDX-License-Identifier: Apache-2.0
"""Who may ask what of the hub: the digests of tokens, never the tokens, and the scopes they open."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, String, select
from sqlalchemy.orm import Mapped, mapped_column

from helmet_cloud.errors import BadRequest, Conflict, NotFound
from helmet_cloud.store.base import Base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from helmet_cloud.store.database import Database

ADMIN = "admin"
"""Scope that opens everything."""
KUBE = "kube"
"""Scope of the resource API."""
LABELS = "labels"
"""Scope to read and write examples and labels."""
NODE = "node"
"""Scopes ``node:<name>`` open the examples and reports of one node, no more."""

TOKEN_PREFIX = "hmt_"  # noqa: S105 - what tokens begin with, so that secret scanners and people know them
TOKEN_PATTERN = re.compile(r"hmt_[A-Za-z0-9_-]{43}\Z")
"""Prefix and 256 random bits in URL-safe base64."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
"""Names of nodes and tokens: safe as one file name and in a path of a URL."""

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_SCOPE = re.compile(rf"({ADMIN}|{KUBE}|{LABELS}|{NODE}:[A-Za-z0-9][A-Za-z0-9._-]{{0,127}})\Z")


class TokenRow(Base):
    """One token; a revoked one stays, so that its digest never comes to mean somebody else."""

    __tablename__ = "tokens"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(160), index=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    added_seconds: Mapped[float]
    revoked_seconds: Mapped[float | None]


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is known.

    Attributes:
        name: whose it is; a node's token is called ``node:<name>``.
        scopes: what it opens.
        revoked: whether it opens nothing any more.
    """

    name: str
    scopes: frozenset[str]
    revoked: bool


def new_token() -> str:
    """A fresh token; ``token_digest`` of it is what the hub keeps."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """Digest under which the hub knows a token. It needs no salt: tokens are 256 random bits, not passwords."""
    return hashlib.sha256(token.encode()).hexdigest()


def add_token(session: Session, name: str, sha256: str, scopes: Sequence[str], now: float) -> bool:
    """Makes a token known; False when it is already, with the same name and scopes.

    Args:
        session: a write transaction.
        name: whose it is.
        sha256: digest of the token, 64 lower-case hexadecimal digits.
        scopes: what it opens.
        now: Unix time in seconds.

    Raises:
        BadRequest: the digest or a scope is none.
        Conflict: the digest was revoked, or is somebody else's.
    """
    if not _SHA256.match(sha256):
        raise BadRequest(f"token digest: expected 64 lower-case hexadecimal digits, found {sha256[:80]!r}")
    for scope in scopes:
        if not _SCOPE.match(scope):
            raise BadRequest(f"scope: expected admin, kube, labels or node:NAME, found {scope[:160]!r}")
    known = session.get(TokenRow, sha256)
    if known is None:
        session.add(
            TokenRow(sha256=sha256, name=name, scopes=sorted(set(scopes)), added_seconds=now, revoked_seconds=None)
        )
        session.flush()
        return True
    if known.revoked_seconds is not None:
        raise Conflict(f"that token of {known.name} was revoked: make a new one")
    if known.name != name or set(known.scopes) != set(scopes):
        raise Conflict(f"that token is {known.name}'s already: make another one")
    return False


def revoke(session: Session, name: str, now: float) -> int:
    """Revokes every token of that name, from this moment on; returns how many were still good.

    Raises:
        NotFound: no token has that name.
    """
    rows = session.scalars(select(TokenRow).where(TokenRow.name == name)).all()
    if not rows:
        raise NotFound(f"no token is called {name}")
    good = [row for row in rows if row.revoked_seconds is None]
    for row in good:
        row.revoked_seconds = now
    return len(good)


def find(session: Session, sha256: str) -> Token | None:
    """The token with that digest, revoked or not; None when nobody knows it."""
    columns = select(TokenRow.sha256, TokenRow.name, TokenRow.scopes, TokenRow.revoked_seconds)
    row = session.execute(columns.where(TokenRow.sha256 == sha256)).one_or_none()
    return None if row is None else _token(sha256, row.sha256, row.name, row.scopes, row.revoked_seconds)


class TokenLookup:
    """``find`` for every request: in 20 microseconds, on a connection of its own, so that it never waits for another.

    Reading under SQLite's write-ahead log waits for no writer; each answer is that of the last commit, of any process.

    Args:
        database: of the hub.
    """

    _QUERY = "SELECT sha256, name, scopes, revoked_seconds FROM tokens WHERE sha256 = ?"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._connection: Any = None

    def find(self, sha256: str) -> Token | None:
        """As the function ``find``; safe from any thread."""
        with self._lock:
            if self._connection is None:
                taken = self._database.engine.raw_connection()
                taken.detach()  # from the pool, which others may have emptied
                self._connection = taken
            cursor = self._connection.cursor()
            try:
                row = cursor.execute(self._QUERY, (sha256,)).fetchone()
            finally:
                cursor.close()
        return None if row is None else _token(sha256, row[0], row[1], json.loads(row[2]), row[3])

    def close(self) -> None:
        """Closes the connection; the next ``find`` opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _token(asked: str, sha256: str, name: str, scopes: Sequence[str], revoked: float | None) -> Token | None:
    # The index compares as it likes; the answer depends on a comparison that takes the same time for every digest.
    if not hmac.compare_digest(sha256, asked):
        return None
    return Token(name, frozenset(scopes), revoked is not None)
