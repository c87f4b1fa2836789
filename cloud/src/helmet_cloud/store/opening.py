# SPDX-License-Identifier: Apache-2.0
"""Opens the hub's database with every table in it."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

import helmet_cloud.store
from helmet_cloud.errors import HubError
from helmet_cloud.store.database import Database
from helmet_cloud.store.migrations import migrate

if TYPE_CHECKING:
    from helmet_cloud.settings import HubHome


def open_database(home: HubHome) -> Database:
    """The database of a hub's folder; made when it is not there, brought up to date when it is an older one.

    Every module of this package registers its tables when it is imported, so all of them are imported first.

    Raises:
        HubError: the file is there and is no database, cannot be written, or was made by a newer release.
    """
    for module in pkgutil.iter_modules(helmet_cloud.store.__path__):
        importlib.import_module(f"helmet_cloud.store.{module.name}")
    database = Database(home.database)
    try:
        with database.write() as session:
            migrate(session.connection())
    except DBAPIError as error:
        database.close()
        raise HubError(f"{home.database} cannot be opened: {error.orig}; restore it from a backup") from error
    except HubError:
        database.close()
        raise
    return database
