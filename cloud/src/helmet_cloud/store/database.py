# SPDX-License-Identifier: Apache-2.0
"""The hub's database: one SQLite file in WAL mode, migrated by Alembic when it is opened."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session, sessionmaker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

BUSY_SECONDS = 15.0
"""How long a transaction waits for another one; longer than any of ours takes on a slow disk."""

FILE_NAME = "hub.sqlite"


class Database:
    """Transactions on the hub's database; safe to use from any thread.

    Writers take the write lock when they begin (``BEGIN IMMEDIATE``), so that two of them queue instead of failing
    half-way. A committed transaction survives a power cut (``synchronous=FULL``).

    Args:
        path: the SQLite file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = _engine(path)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view; nothing done in it is kept."""
        with self._sessions() as session:
            session.connection(execution_options={"helmet_begin": "BEGIN DEFERRED"})
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction: all of it is kept when the block ends, nothing when it raises."""
        with self._sessions() as session:
            session.connection(execution_options={"helmet_begin": "BEGIN IMMEDIATE"})
            yield session
            session.commit()

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling would begin too late; ours begins below.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_SECONDS * 1000:.0f}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("helmet_begin", "BEGIN IMMEDIATE"))

    return engine
