# SPDX-License-Identifier: Apache-2.0
"""The database: every revision leads to the tables that the code has, whole or not at all."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from helmet_cloud.errors import HubError
from helmet_cloud.settings import HubHome
from helmet_cloud.store import migrations
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
from helmet_cloud.store.opening import open_database

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_database_has_the_tables_that_the_code_has(tmp_path: Path) -> None:
    database = open_database(HubHome(tmp_path))
    with database.read() as session:
        assert migrations.revision(session.connection()) == migrations.HEAD
        context = MigrationContext.configure(session.connection(), opts={"render_as_batch": True})
        assert compare_metadata(context, Base.metadata) == []
        assert len(inspect(session.connection()).get_table_names()) == len(Base.metadata.tables) + 1
    database.close()


def test_the_head_that_is_compared_is_that_of_the_files() -> None:
    folder = migrations.__file__.removesuffix("/__init__.py")
    assert ScriptDirectory(folder).get_current_head() == migrations.HEAD


def test_a_database_that_is_up_to_date_is_left_alone(tmp_path: Path) -> None:
    open_database(HubHome(tmp_path)).close()
    database = Database(tmp_path / "hub.sqlite")
    with database.write() as session:
        assert migrations.migrate(session.connection()) is False
    database.close()


def test_the_database_of_a_newer_release_is_refused_and_not_touched(tmp_path: Path) -> None:
    database = open_database(HubHome(tmp_path))
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(HubError, match="made by a newer one"):
        open_database(HubHome(tmp_path))
    database = Database(tmp_path / "hub.sqlite")
    with database.read() as session:
        assert migrations.revision(session.connection()) == "9999"
    database.close()


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "hub.sqlite").write_bytes(b"no database, but long enough to be looked at by the library" * 40)
    with pytest.raises(HubError, match="restore it from a backup"):
        open_database(HubHome(tmp_path))


def test_a_migration_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "hub.sqlite")

    def broken_off() -> None:
        with database.write() as session:
            migrations.migrate(session.connection())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    with database.read() as session:
        assert inspect(session.connection()).get_table_names() == []
    database.close()


def test_two_that_open_a_new_database_at_once_both_get_it_whole(tmp_path: Path) -> None:
    revisions: list[str | None] = []

    def opened() -> None:
        database = open_database(HubHome(tmp_path))
        with database.read() as session:
            revisions.append(migrations.revision(session.connection()))
        database.close()

    threads = [threading.Thread(target=opened) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert revisions == [migrations.HEAD] * 4
