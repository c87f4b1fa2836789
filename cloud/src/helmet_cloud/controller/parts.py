# SPDX-License-Identifier: Apache-2.0
"""What every part of the controller works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from helmet_cloud.controller.guarded import GuardedPictures

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_cloud.datasets import DatasetReader
    from helmet_cloud.ports import Clock, ModelChannel, WorkerRunner
    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database
    from helmet_cloud.store.events import EventRecorder
    from helmet_cloud.store.resources import ResourceStore


@dataclass(frozen=True, slots=True)
class Parts:
    """The controller's surroundings.

    Attributes:
        home: the hub's folder and settings.
        database: of the hub.
        resources: Datasets, Models, jobs.
        events: what ``kubectl describe`` shows.
        runner: runs workers.
        channel: takes models.
        clock: time.
        reader: of data sets.
        regression: the txt file of pictures that no round trains on; None: there is none, and the guard refuses.
        token: a few random characters that make a worker's name unique.
        reached: called at every crash point.
        guarded: what must stay away from every round.
    """

    home: HubHome
    database: Database
    resources: ResourceStore
    events: EventRecorder
    runner: WorkerRunner
    channel: ModelChannel
    clock: Clock
    reader: DatasetReader
    regression: Callable[[], str | None]
    token: Callable[[], str]
    reached: Callable[[str], None]
    guarded: GuardedPictures = field(default_factory=GuardedPictures)
