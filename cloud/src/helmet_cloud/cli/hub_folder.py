# SPDX-License-Identifier: Apache-2.0
"""What commands share that work on a hub's folder, whether the hub runs beside them or not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database


@contextlib.contextmanager
def opened(data_dir: Path) -> Iterator[tuple[HubHome, Database]]:
    """The hub's folder and its database.

    Raises:
        ConfigError: it is no hub's folder.
    """
    from helmet_agent.logs import configure_logging  # noqa: PLC0415 - commands load only what they use
    from helmet_cloud.settings import HubHome  # noqa: PLC0415 - as above
    from helmet_cloud.store.opening import open_database  # noqa: PLC0415 - as above

    configure_logging("warning", "console")
    home = HubHome.load(data_dir)
    database = open_database(home)
    try:
        yield home, database
    finally:
        database.close()
