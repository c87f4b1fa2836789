# SPDX-License-Identifier: Apache-2.0
"""The one thread that writes events and tells those who listen."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import structlog

from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.adapters.event_log.log import EventLog
    from helmet_agent.contract import ComplianceEvent
    from helmet_agent.ports import Clock

_log = structlog.get_logger(__name__)

DROP_CAUSES = ("queue_full", "storage", "fault", "closed")
SWEEP_SECONDS = 3600.0
_POLL_SECONDS = 30.0


class _Job(NamedTuple):
    event: ComplianceEvent
    snapshot: Callable[[], bytes | None] | None


class EventWriter:
    """Takes events from the pipeline and writes them behind its back.

    Listeners hear of every event that was taken, also when the disk refused it: a guard at a screen matters more than
    the file. ``events.jsonl`` may therefore miss what ``dropped["storage"]`` counts.

    Args:
        log: where events go; closed with the writer.
        clock: for the hourly removal of old snapshots.
        certain: Unix time that has certainly come, for the same; by default the clock's.
        queue_size: events that wait at most.
        blocking: True for files read to their end, where nothing may be lost: ``put`` waits, and a disk that refuses
            ends the run. False for live sources: ``put`` never waits, and drops with the cause ``queue_full``.
    """

    def __init__(
        self,
        log: EventLog,
        clock: Clock,
        queue_size: int = 64,
        *,
        blocking: bool = False,
        certain: Callable[[], float] | None = None,
    ) -> None:
        self._events = log
        self._clock = clock
        self._certain = certain or clock.now
        self._blocking = blocking
        self._jobs: queue.Queue[_Job | None] = queue.Queue(queue_size)
        self._dropped: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._listeners: tuple[Callable[[ComplianceEvent], None], ...] = ()
        self._failure: StorageError | None = None
        self._failing = False
        self._closing = threading.Event()
        self.written = 0
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> dict[str, int]:
        """Events that are not in the file, by cause: ``DROP_CAUSES``."""
        with self._guard:
            return {cause: self._dropped[cause] for cause in DROP_CAUSES}

    @property
    def failing(self) -> str | None:
        """Why events cannot be written at present, for the health report; None while writing works."""
        return str(self._failure) if self._failing else None

    def put(self, event: ComplianceEvent, snapshot: Callable[[], bytes | None] | None = None) -> bool:
        """Hands an event over.

        Args:
            event: what happened.
            snapshot: makes a JPEG to keep with it, on the writer's thread; one that gives None keeps none.

        Returns:
            False when it was dropped, which is counted.

        Raises:
            StorageError: only when blocking: an earlier event could not be written.
        """
        if self._closing.is_set():
            self._drop("closed")
            return False
        if self._blocking:
            self._raise_failure()
            self._jobs.put(_Job(event, snapshot))
            return True
        try:
            self._jobs.put_nowait(_Job(event, snapshot))
        except queue.Full:
            self._drop("queue_full")
            return False
        return True

    def add_listener(self, listener: Callable[[ComplianceEvent], None]) -> None:
        """Tells somebody of every event from now on, on the writer's thread; the listener must not wait."""
        with self._guard:
            self._listeners = (*self._listeners, listener)

    def close(self, timeout_seconds: float = 10.0) -> bool:
        """Writes what waits and lets go of the folder; idempotent.

        Returns:
            False when the disk did not take everything within the time-out.

        Raises:
            StorageError: only when blocking: an event could not be written.
        """
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._jobs.put_nowait(None)  # wakes the thread; with a full queue it is awake
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            return False
        while not self._jobs.empty():  # put while the thread was leaving
            if self._jobs.get_nowait() is not None:
                self._drop("closed")
        self._events.close()
        if self._blocking:
            self._raise_failure()
        return True

    def _run(self) -> None:
        swept: float | None = None
        while True:
            if swept is None or self._clock.monotonic() - swept >= SWEEP_SECONDS:
                swept = self._clock.monotonic()
                self._sweep()
            try:
                job = self._jobs.get(timeout=0.0 if self._closing.is_set() else _POLL_SECONDS)
            except queue.Empty:
                if self._closing.is_set():
                    return
                continue
            if job is not None:
                self._tell(self._write(job))

    def _write(self, job: _Job) -> ComplianceEvent:
        try:
            written = self._events.append(job.event, job.snapshot() if job.snapshot else None)
        except StorageError as error:
            self._drop("storage")
            if not self._failing:
                _log.error("an event could not be written", id=job.event.id, reason=str(error))
            self._failing = True
            self._failure = error
        except Exception as error:
            self._drop("fault")
            _log.error("an event could not be written", id=job.event.id, reason=repr(error))
        else:
            self.written += 1
            if self._failing:
                _log.info("events can be written again")
            self._failing = False
            return written
        return job.event

    def _tell(self, event: ComplianceEvent) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:
                _log.error("a listener to events failed", reason=repr(error))

    def _sweep(self) -> None:
        try:
            self._events.sweep(self._certain())
        except StorageError as error:
            _log.error("old snapshots could not be removed", reason=str(error))

    def _drop(self, cause: str) -> None:
        with self._guard:
            self._dropped[cause] += 1

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
