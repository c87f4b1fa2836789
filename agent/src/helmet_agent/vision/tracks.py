# SPDX-License-Identifier: Apache-2.0
"""What a tracker knows: the same object over several frames of one source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helmet_agent.contract import Box

HISTORY = 16
"""How many of its latest matches a track remembers."""


@dataclass(frozen=True, slots=True)
class Track:
    """One object over time.

    Attributes:
        id: number in its source, from 1, never used again.
        label: label of the latest match.
        score: score of the latest match, in [0, 1].
        box: latest matched box, or where it is expected while it is missed, in source pixels.
        hits: frames in which it was matched.
        missed: processed frames since its latest match; 0 when it was matched in this one.
        first_seen_seconds, last_seen_seconds: times of the first and the latest match, Unix time.
        scores, labels: of the latest matches, oldest first, at most ``HISTORY``.
    """

    id: int
    label: str
    score: float
    box: Box
    hits: int
    missed: int
    first_seen_seconds: float
    last_seen_seconds: float
    scores: tuple[float, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrackUpdate:
    """What one frame did to the tracks of its source.

    Attributes:
        tracks: all that live after the frame, the missed ones included.
        started: those of them that began with this frame.
        lost: tracks given up in this frame; no longer in ``tracks``.
    """

    tracks: tuple[Track, ...]
    started: tuple[Track, ...] = ()
    lost: tuple[Track, ...] = ()
