# SPDX-License-Identifier: Apache-2.0
"""What a mining rule sees, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from helmet_agent.vision.tracks import TrackUpdate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from helmet_agent.contract import Detection

    Draw = Callable[[], float]
    """A source of randomness: each call gives a number drawn evenly from [0, 1)."""

NOTHING_TRACKED = TrackUpdate(())


@dataclass(frozen=True, slots=True)
class RuleContext:
    """All that is known of one frame when the rules judge it.

    Attributes:
        detections: what the detector shows, that is, at or above the score thresholds; in any order.
        width, height: size of the source picture in pixels.
        time_seconds: when the frame was taken, Unix time.
        tracks: what the frame did to the tracks of its source; empty where nothing is tracked (single pictures).
    """

    detections: Sequence[Detection]
    width: int
    height: int
    time_seconds: float = 0.0
    tracks: TrackUpdate = NOTHING_TRACKED


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule calls the frame hard.

    Attributes:
        rule: the rule's name.
        value: how hard, finite; larger is harder, comparable within one rule only. Each rule says what it means.
    """

    rule: str
    value: float


class Rule(Protocol):
    """Judges frames. Rules are pure: no memory, no clock; whatever is random comes in when they are made."""

    @property
    def name(self) -> str:
        """The name under which resources, records and metrics know the rule."""

    def judge(self, context: RuleContext) -> Verdict | None:
        """A verdict when the frame is hard, else None. The order of the detections does not matter."""
