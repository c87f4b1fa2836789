# SPDX-License-Identifier: Apache-2.0
"""The places between keeping and doing where a hub may be killed; the tests kill it at each of them."""

from __future__ import annotations

BEFORE_OPENING = "before a round is opened"
OPENED = "after a round was opened"
INPUTS_WRITTEN = "after a worker's inputs were written"
WORKER_NAMED = "after a worker got its name"
WORKER_STARTED = "after a worker was started"
START_KEPT = "after the start of a worker was kept"
WORKER_ENDED = "before a worker's end is kept"
END_KEPT = "after a worker's end was kept"
JUDGED = "before the gate's decision is kept"
DECISION_KEPT = "after the gate's decision was kept"
PUBLISHED = "after a model was published, before that is kept"
CLOSED = "after a round was closed"
STATUS_WRITTEN = "after a job's status was written"

CRASH_POINTS = (
    BEFORE_OPENING,
    OPENED,
    INPUTS_WRITTEN,
    WORKER_NAMED,
    WORKER_STARTED,
    START_KEPT,
    WORKER_ENDED,
    END_KEPT,
    JUDGED,
    DECISION_KEPT,
    PUBLISHED,
    CLOSED,
    STATUS_WRITTEN,
)


def nothing(_point: str) -> None:
    """What happens at a crash point outside of a test."""
