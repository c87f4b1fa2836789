# SPDX-License-Identifier: Apache-2.0
"""The life of one source as a state machine: events in, the next action out. Pure: no clock, no threads, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helmet_agent.retry import Backoff

# A source that delivered for so long before it was lost is opened again at once; a flapping one keeps backing off.
STEADY_SECONDS = 1.0


class State(Enum):
    """What a source is doing."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    WAITING = "waiting"
    ENDED = "ended"
    FAILED = "failed"


class Act(Enum):
    """What its reader has to do next."""

    OPEN = "open"
    READ = "read"
    WAIT = "wait"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Step:
    """The next action; ``wait_seconds`` goes with WAIT."""

    act: Act
    wait_seconds: float = 0.0


class SourceState:
    """Follows one source. Every method takes the monotonic time, so that tests can play it.

    Args:
        live: whether it is opened again when it is lost.
        stall_seconds: a live source without a frame for so long is stalled.
        backoff: delays between attempts to open.
        give_up_unseen: a live source that fails before its first frame fails for good (batch runs).
    """

    def __init__(self, *, live: bool, stall_seconds: float, backoff: Backoff, give_up_unseen: bool = False) -> None:
        self._live = live
        self._stall_seconds = stall_seconds
        self._backoff = backoff
        self._give_up_unseen = give_up_unseen
        self._state = State.CONNECTING
        self._not_before = float("-inf")
        self._progress: float | None = None  # when it last opened or delivered
        self._streaming_since: float | None = None
        self._stalled = False
        self._seen = False
        self.stalls = 0
        self.reconnects = 0
        self._lost_at: float | None = None
        self.last_frame: float | None = None
        self.last_error: str | None = None

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._state

    @property
    def closed_for_stall(self) -> bool:
        """Whether the end of the source, when it comes now, is the doing of whoever noticed the stall."""
        return self._stalled

    def next(self, now: float) -> Step:
        """What to do now."""
        if self._state in (State.ENDED, State.FAILED):
            return Step(Act.STOP)
        if self._state is State.STREAMING:
            return Step(Act.READ)
        if now < self._not_before:
            self._state = State.WAITING
            return Step(Act.WAIT, self._not_before - now)
        self._state = State.CONNECTING
        return Step(Act.OPEN)

    def opened(self, now: float) -> None:
        """It opened; whether it is well shows with the first frame."""
        self._state = State.STREAMING
        self._stalled = False
        self._progress = now
        self._streaming_since = None

    def frame(self, now: float) -> float | None:
        """It delivered. Returns for how long it was lost with the first frame of a reconnect, else None."""
        lost_for: float | None = None
        if self._streaming_since is None:
            self._streaming_since = now
            self.last_error = None
            if self._seen and self._lost_at is not None:
                self.reconnects += 1
                lost_for = now - self._lost_at
            self._lost_at = None
        elif now - self._streaming_since >= STEADY_SECONDS:
            self._backoff.reset()
        self._seen = True
        self._progress = self.last_frame = now
        return lost_for

    def lost(self, now: float, reason: str) -> None:
        """It could not be opened, or stopped delivering."""
        if not self._stalled:
            self.last_error = reason
        if self._lost_at is None:
            self._lost_at = now
        if not self._live or (self._give_up_unseen and not self._seen):
            self._state = State.FAILED
            return
        steady = self._streaming_since is not None and now - self._streaming_since >= STEADY_SECONDS
        self._streaming_since = None
        self._state = State.WAITING
        self._not_before = now if steady else now + self._backoff.next_delay()

    def ended(self) -> None:
        """It came to its end."""
        self._state = State.ENDED

    def stalled(self, now: float) -> bool:
        """Whether it has just become clear that it stalled: True once for every stall, and the stall is counted.

        The caller closes the source, which makes the blocked reader report ``lost``.
        """
        if not self._live or self._state is not State.STREAMING or self._stalled or self._progress is None:
            return False
        if now - self._progress < self._stall_seconds:
            return False
        self._stalled = True
        self.stalls += 1
        self.last_error = f"no frame for {self._stall_seconds:g} s"
        return True
