# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from helmet_agent.contract import ComplianceEvent, FrameReport
from helmet_agent.ports import Frame
from helmet_agent.services.event_stage import EventStage
from helmet_agent.services.pipeline import ProcessedFrame
from helmet_agent.vision.tracks import TrackUpdate

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.contract.events import EventKind

PICTURE = np.zeros((4, 4, 3), np.uint8)


@dataclass
class File:
    lines: list[tuple[str, bytes | None]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    listeners: list[Callable[[ComplianceEvent], None]] = field(default_factory=list)

    def put(self, event: ComplianceEvent, snapshot: Callable[[], bytes | None] | None = None) -> bool:
        self.lines.append((event.kind, snapshot() if snapshot else None))
        for listener in self.listeners:
            listener(event)
        return True

    def add_listener(self, listener: Callable[[ComplianceEvent], None]) -> None:
        self.listeners.append(listener)

    def close(self, timeout_seconds: float) -> bool:
        del timeout_seconds
        return True


def event(kind: EventKind) -> ComplianceEvent:
    return ComplianceEvent("e", kind, "gate", 1, 1.0, 1, "helmet-off", 0.5, (0.0, 0.0, 1.0, 1.0))


def frame(*kinds: EventKind) -> ProcessedFrame:
    report = FrameReport("gate", 1, 4, 4, "0" * 64, hard=False, detections=())
    events = tuple(event(kind) for kind in kinds)
    return ProcessedFrame("gate", Frame("gate", 1, 1.0, 0.0, PICTURE), report, TrackUpdate(()), events, 0.0, 0.0)


def test_a_picture_is_made_only_when_a_violation_starts() -> None:
    file, made = File(), []

    def picture(processed: ProcessedFrame) -> bytes:
        made.append(processed)
        return b"jpeg"

    stage = EventStage(file, picture)
    stage.observe(frame())
    stage.observe(frame("violation_started"))
    stage.observe(frame("violation_ended"))
    assert file.lines == [("violation_started", b"jpeg"), ("violation_ended", None)]
    assert len(made) == 1
    assert stage.by_kind() == {"violation_started": 1, "violation_ended": 1}


def test_listeners_hear_of_events_with_and_without_a_frame() -> None:
    heard: list[str] = []
    stage = EventStage(File(), None)
    stage.add_listener(lambda told: heard.append(told.kind))
    stage.observe(frame("violation_started"))
    stage.publish(event("violation_ended"), None)
    assert heard == ["violation_started", "violation_ended"]
