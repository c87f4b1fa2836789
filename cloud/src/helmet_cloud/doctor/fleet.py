# SPDX-License-Identifier: Apache-2.0
"""What the hub's doctor looks at of the fleet: whether a model that nobody has tried would reach few nodes."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING

from helmet_agent.diagnosis import OK, WARNING, Finding
from helmet_cloud.core.exposure import exposure
from helmet_cloud.store.nodes import member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_cloud.core.exposure import Member
    from helmet_cloud.settings import HubHome

PART = "canary ring"


def canary_ring(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether each job's canary ring is small enough for the next model to be let out to it."""
    try:
        found = _members(home)
    except sqlite3.Error:
        return  # the database has a line of its own
    jobs = sorted({one.job for one in found if one.job is not None})
    excess = [(job, said) for job in jobs if (said := exposure(found, job, now).excess(home.settings.canary_share))]
    for job, said in excess:
        mend = "move nodes to ring stable (updates.ring in their configuration), or nothing new goes there"
        yield Finding(PART, WARNING, f"{job}: {said}; {mend}")
    if not excess:
        yield Finding(PART, OK, "small enough for every job that nodes follow")


def _members(home: HubHome) -> list[Member]:
    query = "SELECT ring, added_seconds, seen_seconds, report FROM nodes WHERE revoked_seconds IS NULL"
    with contextlib.closing(sqlite3.connect(f"file:{home.database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(query).fetchall()
    return [member(ring, added, seen, json.loads(report or "null") or {}) for ring, added, seen, report in rows]
