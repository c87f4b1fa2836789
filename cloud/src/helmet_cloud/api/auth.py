# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: who asks, and whether the scope of the token reaches so far.

Tokens are looked up in the database at every request, by digest, so that a revoked one is refused from the moment on
at which ``helmet-cloud nodes revoke`` returns, whichever process it ran in.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request  # noqa: TC002 - FastAPI reads the annotations when it runs
from sqlalchemy.exc import SQLAlchemyError

from helmet_cloud.errors import Forbidden, Unauthorized
from helmet_cloud.store.tokens import ADMIN, NODE, TOKEN_PATTERN, TokenLookup, token_digest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from helmet_cloud.store.database import Database

_SCHEME = "bearer "
_ADVICE = "send the header 'Authorization: Bearer hmt_...' with a token that this hub knows"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        name: of the token.
        scopes: what it opens: ``admin``, ``kube``, ``labels``, ``node:<name>``.
    """

    name: str
    scopes: frozenset[str]

    def has(self, *scopes: str) -> bool:
        """Whether it opens one of these; ``node`` stands for any node's scope, ``admin`` opens all."""
        if ADMIN in self.scopes or not self.scopes.isdisjoint(scopes):
            return True
        return NODE in scopes and any(scope.startswith(f"{NODE}:") for scope in self.scopes)

    def may_act_for(self, node: str) -> bool:
        """Whether it may send what belongs to that node."""
        return self.has(f"{NODE}:{node}")


class Auth:
    """Knows tokens by the database.

    Args:
        database: where ``store.tokens`` has its table.
    """

    def __init__(self, database: Database) -> None:
        self._tokens = TokenLookup(database)

    def require(self, *scopes: str) -> Callable[[Request], Awaitable[Identity]]:
        """A FastAPI dependency that yields the ``Identity`` of whoever asks.

        Args:
            scopes: any one of them suffices; ``node`` stands for any node's. ``admin`` always suffices. None at all:
                any good token.

        The dependency raises ``Unauthorized`` (401) and ``Forbidden`` (403).
        """

        async def identity(request: Request) -> Identity:
            found = self.identify(request.headers.get("authorization"))
            if scopes and not found.has(*scopes):
                raise Forbidden(f"the token {found.name} does not open this: it takes the scope {' or '.join(scopes)}")
            return found

        return identity

    def identify(self, header: str | None) -> Identity:
        """Who sent that ``Authorization`` header.

        Raises:
            Unauthorized: there is none, it is no bearer token, or nobody knows the token (any more).
        """
        if header is None or header[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthorized(f"no token: {_ADVICE}")
        token = header[len(_SCHEME) :].strip()
        if not TOKEN_PATTERN.match(token):
            raise Unauthorized(f"that is no token of a hub: {_ADVICE}")
        found = self._tokens.find(token_digest(token))
        if found is None or found.revoked:
            # One answer for both: who guesses must not learn which tokens there once were.
            raise Unauthorized(f"the token is unknown or was revoked: {_ADVICE}")
        return Identity(found.name, found.scopes)

    def token_name(self, header: str | None) -> str | None:
        """Whose token that ``Authorization`` header carries; None when nobody knows it. Never raises."""
        try:
            return self.identify(header).name
        except (Unauthorized, SQLAlchemyError, sqlite3.Error):
            return None

    def close(self) -> None:
        """Lets go of the database; idempotent."""
        self._tokens.close()
