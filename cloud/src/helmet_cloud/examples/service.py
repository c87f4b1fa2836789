# SPDX-License-Identifier: Apache-2.0
"""All that a hub has for its examples, put together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from helmet_cloud.examples.housekeeping import Housekeeping
from helmet_cloud.examples.ingest import RESERVE_BYTES, Ingest
from helmet_cloud.examples.pictures import PictureFolder
from helmet_cloud.store.examples import count_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database

IDLE_SECONDS = 30.0
"""How long an upload may stand still."""


class HubExamples:
    """Examples of one hub; ``close`` ends the threads that take them in.

    Args:
        home: the hub's folder and settings.
        database: with all tables.
        now: Unix time in seconds.
        reserve_bytes: space that pictures leave free on the disk.
        idle_seconds: how long an upload may stand still.

    Attributes:
        ingest: takes examples in.
        pictures: their files.
        housekeeping: ``heal`` at start and once a day, ``expire`` now and then.
    """

    def __init__(
        self,
        home: HubHome,
        database: Database,
        now: Callable[[], float] = time.time,
        reserve_bytes: int = RESERVE_BYTES,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.idle_seconds = idle_seconds
        self.database = database
        self.max_example_bytes = home.settings.max_example_bytes
        self.pictures = PictureFolder(home.pictures)
        self.ingest = Ingest(
            database,
            self.pictures,
            quota_bytes=home.settings.max_examples_bytes,
            reserve_bytes=reserve_bytes,
            now=now,
        )
        self.housekeeping = Housekeeping(database, self.pictures, home.settings.retention_days)
        self._metrics: list[Callable[[], Mapping[str, float]]] = []

    def add_metrics(self, figures: Callable[[], Mapping[str, float]]) -> None:
        """Adds figures of another part to ``metrics``."""
        self._metrics.append(figures)

    def metrics(self) -> dict[str, float]:
        """Figures by the name that they have in ``/metrics``, labels included."""
        with self.database.read() as session:
            counts = count_examples(session)
        found: dict[str, float] = {}
        for state, (count, size) in counts.items():
            found[f'helmet_hub_examples{{state="{state}"}}'] = count
            found[f'helmet_hub_examples_bytes{{state="{state}"}}'] = size
        for figures in self._metrics:
            found.update(figures())
        return found

    def close(self) -> None:
        """Finishes what was taken in; idempotent."""
        self.ingest.close()
