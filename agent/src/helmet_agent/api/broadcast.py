# SPDX-License-Identifier: Apache-2.0
"""Compliance events to whoever listens: the sender never waits, a slow listener loses the oldest and is told how many.

Standard library only.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.contract import ComplianceEvent
    from helmet_agent.services.pipeline import ProcessedFrame


class TooManyListenersError(Exception):
    """Nobody else can listen now; the message says how many do."""


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event with its place in the stream; ``id`` differs between runs of the agent, so that none is mistaken."""

    id: str
    event: ComplianceEvent


class EventFeed:
    """One listener's queue; made by ``EventBroadcast.subscribe``."""

    def __init__(self, leave: Callable[[EventFeed], None], wake: Callable[[], None], waiting: int) -> None:
        self._leave = leave
        self._wake = wake
        self._lock = threading.Lock()
        self._queue: deque[NumberedEvent] = deque(maxlen=waiting)
        self._lost = 0

    def push(self, event: NumberedEvent) -> None:
        """Adds an event in place of the oldest if the queue is full, and wakes the listener."""
        with self._lock:
            self._lost += len(self._queue) == self._queue.maxlen
            self._queue.append(event)
        self._wake()

    def take(self) -> tuple[int, list[NumberedEvent]]:
        """How many events were lost before these, and all that wait, oldest first."""
        with self._lock:
            found, lost = list(self._queue), self._lost
            self._queue.clear()
            self._lost = 0
        return lost, found

    def close(self) -> None:
        """Listens no longer; idempotent."""
        self._leave(self)


class EventBroadcast:
    """Hands every event to every listener; also a ``FrameObserver`` for the pipeline.

    Args:
        remembered: how many past events a new listener may ask for.
        waiting: how many events wait for a listener before the oldest is lost.
        most_listeners: at once.
        run: tells runs of the agent apart in event ids.
    """

    def __init__(
        self, *, remembered: int = 50, waiting: int = 100, most_listeners: int = 16, run: str | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._recent: deque[NumberedEvent] = deque(maxlen=remembered)
        self._feeds: tuple[EventFeed, ...] = ()
        self._waiting = waiting
        self._most = most_listeners
        self._run = run or f"{int(time.time()):x}"
        self._count = 0

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._feeds)

    def observe(self, processed: ProcessedFrame) -> None:
        """Sends the events of a processed frame."""
        for event in processed.events:
            self.publish(event)

    def publish(self, event: ComplianceEvent) -> None:
        """Sends one event; never waits, never raises."""
        with self._lock:
            self._count += 1
            numbered = NumberedEvent(f"{self._run}-{self._count}", event)
            self._recent.append(numbered)
            feeds = self._feeds
        for feed in feeds:
            try:
                feed.push(numbered)
            except RuntimeError:  # its event loop has ended without saying goodbye
                feed.close()

    def subscribe(self, wake: Callable[[], None], *, after: str | None = None, recent: int = 0) -> EventFeed:
        """Begins to listen.

        Args:
            wake: called, from any thread, when there is something to take.
            after: id of the last event that the listener has seen; what came later and is remembered comes first.
                An id that is not remembered counts as seen long ago.
            recent: without ``after``, so many past events come first.

        Raises:
            TooManyListenersError: the limit is reached.
        """
        feed = EventFeed(self._leave, wake, self._waiting)
        with self._lock:
            if len(self._feeds) >= self._most:
                raise TooManyListenersError(f"{len(self._feeds)} listen already; that is the limit")
            past = list(self._recent)
            if after is not None:
                seen = next((index for index, event in enumerate(past) if event.id == after), -1)
                past = past[seen + 1 :]
            else:
                past = past[max(0, len(past) - recent) :]
            # Under the lock, so that nothing new overtakes the past.
            for event in past:
                feed.push(event)
            self._feeds = (*self._feeds, feed)
        return feed

    def _leave(self, feed: EventFeed) -> None:
        with self._lock:
            self._feeds = tuple(other for other in self._feeds if other is not feed)
