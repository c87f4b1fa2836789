# SPDX-License-Identifier: Apache-2.0
"""Hot updates under Sedna put together: its announcement as a feed of the updater, and the answers to it."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

from helmet_agent.adapters.sedna_feed import LocalController, SednaFeed, WorkerName, is_package, unpack
from helmet_agent.contract import Delivery
from helmet_agent.durable import make_folder, reported, write_atomic
from helmet_agent.services.deploy_reports import DeployReports

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.app.updates import Models
    from helmet_agent.ports import Clock
    from helmet_agent.sedna_hot import HotUpdates

FEED_FOLDER, ANSWERED = "sedna", "answered"
UNPACKED = "sedna-model"


def sedna_feed(hot: HotUpdates, models: Models) -> SednaFeed:
    """The feed of ``MODEL_HOT_UPDATE_CONFIG``."""
    book = models.book

    def newest() -> int:
        state = book.state
        return max(model.release for model in (state.current, *state.history, *state.floors))

    return SednaFeed(
        hot.config_file,
        models.store.own_folder(FEED_FOLDER),
        serving=lambda: models.store.folder(book.state.current.key),
        newest=newest,
        delivery=Delivery(hot.job, hot_update=True, poll_seconds=hot.poll_seconds),
    )


def deploy_reports(hot: HotUpdates, feed: SednaFeed, models: Models, clock: Clock) -> DeployReports:
    """Answers to Sedna's local controller; not started.

    Raises:
        ConfigError: ``LC_SERVER`` is no http address.
    """
    controller = LocalController(hot.lc_server, WorkerName(hot.worker, hot.namespace, hot.job_name))
    return DeployReports(
        announced=lambda: feed.announced,
        state=lambda: models.book.state,
        send=controller.deployed,
        answered=_AnsweredFile(models.store.own_folder(FEED_FOLDER) / ANSWERED),
        clock=clock,
        random=random.SystemRandom().random,
    )


def unpacked_slot(slot: Path, data_dir: Path) -> Path | None:
    """The model folder made of a package that Sedna's cold update put into the place of ``MODEL_URL``'s file.

    Returns:
        None where the file is no package; then what lies beside it is the model.

    Raises:
        UpdateError: it is a package that cannot be right. StorageError: it cannot be unpacked there.
    """
    if not is_package(slot):
        return None
    folder = data_dir / UNPACKED
    with reported("remove", folder):
        shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    unpack(slot, folder)
    return folder


class _AnsweredFile:
    """Implements ``services.deploy_reports.Answered``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str:
        try:
            return self._path.read_text()
        except (OSError, UnicodeDecodeError):
            return ""

    def write(self, version: str) -> None:
        write_atomic(self._path, version.encode())
