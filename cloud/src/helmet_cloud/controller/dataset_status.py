# SPDX-License-Identifier: Apache-2.0
"""Keeps the status of every Dataset: how many samples it has, and since when. What is wrong becomes an event."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import structlog

from helmet_agent.errors import AgentError
from helmet_cloud.controller.opening import read_dataset
from helmet_cloud.resources.kinds import DATASET
from helmet_cloud.store.resources import timestamp

if TYPE_CHECKING:
    from helmet_cloud.controller.parts import Parts

_log = structlog.get_logger(__name__)


class DatasetStatus:
    """Looks at all Datasets every ``check_seconds`` of the hub's settings, at new ones at once.

    Args:
        parts: the surroundings.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._due: dict[tuple[str, int], float] = {}
        self._said: dict[str, str | None] = {}

    @property
    def due(self) -> float:
        """Monotonic time at which the next look is due; infinite without any Dataset."""
        return min(self._due.values(), default=math.inf)

    def tick(self) -> None:
        """Looks at those that are due."""
        now = self._parts.clock.monotonic()
        present: set[tuple[str, int]] = set()
        for document in self._parts.resources.list(DATASET.name):
            meta = document["metadata"]
            key = (meta["uid"], meta.get("generation", 1))
            present.add(key)
            if now < self._due.get(key, 0.0):
                continue
            try:
                waiting = self._look(document)
            except Exception:
                _log.exception("a data set could not be looked at; it is tried again", dataset=meta["name"])
                waiting = 0
            self._due[key] = now + (0.0 if waiting else self._parts.home.settings.check_seconds)
        for key in set(self._due) - present:
            del self._due[key]

    def _look(self, document: dict[str, Any]) -> int:
        meta = document["metadata"]
        namespace, name = meta["namespace"], meta["name"]
        try:
            reading, remark = read_dataset(self._parts, namespace, name)
        except AgentError as error:
            self._say(meta, str(error))
            return 0
        self._say(meta, "; ".join(one for one in (None if reading.waiting else reading.remark, remark) if one) or None)
        if reading.missing is None and not reading.waiting:
            status = {"numberOfSamples": len(reading.samples), "updateTime": timestamp(reading.changed_seconds)}
            if document.get("status") != status:
                self._parts.resources.write_status(DATASET.name, namespace, name, status)
        return reading.waiting

    def _say(self, meta: dict[str, Any], message: str | None) -> None:
        if message is not None and self._said.get(meta["uid"]) != message:
            self._parts.events.record(
                DATASET.name, meta["namespace"], meta["name"], type="Warning", reason="DatasetRead", message=message
            )
        self._said[meta["uid"]] = message
