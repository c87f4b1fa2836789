# SPDX-License-Identifier: Apache-2.0
"""How the database of an older hub becomes that of this one: Alembic's revisions, in ``versions/``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from helmet_cloud.errors import HubError

if TYPE_CHECKING:
    from sqlalchemy import Connection

HEAD = "0002"
"""The newest revision; a test holds it to the files in ``versions/``."""

_TABLE = "alembic_version"


def migrate(connection: Connection) -> bool:
    """Takes the database to ``HEAD`` inside the transaction of the connection; says whether anything was done.

    Raises:
        HubError: the database was made by a newer release, which this one must not touch.
    """
    found = revision(connection)
    if found == HEAD:
        return False
    # Alembic takes a while to import, and nearly every start finds the database as it should be.
    from alembic import command  # noqa: PLC0415 - as said
    from alembic.config import Config  # noqa: PLC0415 - as said
    from alembic.util import CommandError  # noqa: PLC0415 - as said

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise HubError(
            f"the database is of revision {found}, which this release does not know: it was made by a newer one; "
            "install that, or restore a backup of before"
        ) from error
    return True


def revision(connection: Connection) -> str | None:
    """The revision that the database is of; None where it is new."""
    if not inspect(connection).has_table(_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {_TABLE}")).scalar()  # noqa: S608 - a constant
    return None if found is None else str(found)
