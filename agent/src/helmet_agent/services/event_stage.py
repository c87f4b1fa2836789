# SPDX-License-Identifier: Apache-2.0
"""Violations on their way out: to the events file with a picture, and to whoever listens."""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from helmet_agent.contract import ComplianceEvent
    from helmet_agent.services.pipeline import ProcessedFrame


class EventFile(Protocol):
    """Writes events behind a bounded queue of its own; see ``adapters.event_log``."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Events that are not in the file, by cause."""

    def put(self, event: ComplianceEvent, snapshot: Callable[[], bytes | None] | None = None) -> bool:
        """Hands an event over, with what makes the JPEG to keep beside it."""

    def add_listener(self, listener: Callable[[ComplianceEvent], None]) -> None:
        """Tells somebody of every event as it was written."""

    def close(self, timeout_seconds: float) -> bool:
        """Writes what waits; False when the time was too short."""


class EventStage:
    """Observes frames and passes their events on; a ``FrameObserver``.

    Args:
        file: where events are written.
        picture: makes the JPEG that is kept when a violation starts; None keeps none.
    """

    def __init__(self, file: EventFile, picture: Callable[[ProcessedFrame], bytes | None] | None) -> None:
        self._file = file
        self._picture = picture
        self._kinds: Counter[str] = Counter(violation_started=0, violation_ended=0)

    def add_listener(self, listener: Callable[[ComplianceEvent], None]) -> None:
        """Tells somebody too, from the next event on, as it was written; the listener must not wait."""
        self._file.add_listener(listener)

    def by_kind(self) -> dict[str, int]:
        """Events since the start, by kind."""
        return dict(self._kinds)

    def dropped(self) -> Mapping[str, int]:
        """Events that are not in the file, by cause."""
        return self._file.dropped

    def observe(self, processed: ProcessedFrame) -> None:
        """Passes the frame's events on."""
        for event in processed.events:
            self.publish(event, processed)

    def publish(self, event: ComplianceEvent, processed: ProcessedFrame | None) -> None:
        """Passes one event on; ``processed`` is the frame that shows it, if one is at hand."""
        self._kinds[event.kind] += 1
        picture = None
        if event.kind == "violation_started" and processed is not None and self._picture is not None:
            picture = functools.partial(self._picture, processed)
        self._file.put(event, picture)

    def close(self, timeout: float) -> None:
        """Writes what waits, at most ``timeout`` seconds."""
        self._file.close(timeout)
