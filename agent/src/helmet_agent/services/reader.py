# SPDX-License-Identifier: Apache-2.0
"""The loop that reads one source: opens it, steps through it, hands on what is wanted, comes back when it is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from helmet_agent.errors import SourceError, SourceLost
from helmet_agent.redaction import redact_url
from helmet_agent.services.pacing import FrameGate
from helmet_agent.services.source_state import Act, State
from helmet_agent.services.stepping import stepping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from helmet_agent.ports import Clock, Frame, FrameSource
    from helmet_agent.services.source_state import SourceState, Step
    from helmet_agent.source_url import SourceSettings

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How one source is doing; a copy, for health and metrics.

    Attributes:
        name: the source's name, free of credentials.
        live: whether it is a camera (or plays the part of one).
        state: ``connecting``, ``streaming``, ``waiting`` (to open again), ``ended`` or ``failed`` (for good).
        last_frame_age_seconds: since its last frame came; None before the first.
        frames_read: frames it delivered, those passed over and dropped included.
        drops: frames that were not handed on, by cause: ``every_nth``, ``max_fps``, ``shed``, ``replaced``,
            ``unpreparable``.
        faults: what was wrong with the material, by cause: ``truncated``, ``unreadable``.
        stalls: how often it was closed because no frame came.
        reconnects: how often it delivered again after it was lost.
        last_error: why it is not streaming, or None; free of credentials.
        heartbeat_seconds: the monotonic clock when its reader last turned.
    """

    name: str
    live: bool
    state: str
    last_frame_age_seconds: float | None
    frames_read: int
    drops: Mapping[str, int]
    faults: Mapping[str, int]
    stalls: int
    reconnects: int
    last_error: str | None
    heartbeat_seconds: float


Patience = Callable[[], bool]
"""Asked by whoever waits with a frame in hand: False means give it up, the reader is closing."""

Deliver = Callable[["Frame", Patience], None]
"""Takes a frame: at once for a live source, as soon as there is room for a file."""


class SourceReader:
    """Reads one source; ``run`` is the body of its thread, everything else may be called from any thread.

    Args:
        source: what to read.
        settings: how; see ``SourceSettings``.
        state: the source's life, in its beginning.
        clock: time.
        divisor: how many wanted frames there are to one that is taken; asked for every frame.
    """

    def __init__(
        self,
        source: FrameSource,
        settings: SourceSettings,
        state: SourceState,
        clock: Clock,
        divisor: Callable[[], int],
    ) -> None:
        self._source = stepping(source)
        self._name = settings.display_name
        self._state = state
        self._clock = clock
        self._divisor = divisor
        self._gate = FrameGate(settings.every_nth, settings.max_fps)
        self._lock = threading.Lock()  # guards the state, the counters and the heartbeat
        self._drops: Counter[str] = Counter()
        self._frames = 0
        self._heartbeat = clock.monotonic()
        self._inside_source = False
        self._closing = threading.Event()
        self._logged: str | None = None
        self.error: SourceError | None = None

    def run(self, deliver: Deliver) -> None:
        """Reads until the source is over or ``close`` is called."""
        try:
            while not self._closing.is_set():
                step = self._next_step()
                if step.act is Act.STOP:
                    return
                if step.act is Act.WAIT:
                    self._closing.wait(step.wait_seconds)
                elif step.act is Act.OPEN:
                    self._open()
                else:
                    self._read(deliver)
        finally:
            self._close_source()

    def supervise(self) -> None:
        """Notices a stall, and beats for a reader that its camera keeps waiting: that is the camera's fault.

        Called a few times a second by somebody who never waits for cameras.
        """
        now = self._clock.monotonic()
        with self._lock:
            if self._inside_source:
                self._heartbeat = now
            stalled = self._state.stalled(now)
        if stalled:
            _log.warning("source stalled", source=self._name, reason=self._state.last_error)
            self._close_source()

    def drop(self, cause: str) -> None:
        """Counts a frame that was not handed on."""
        with self._lock:
            self._drops[cause] += 1

    def close(self) -> None:
        """Ends ``run`` soon."""
        self._closing.set()
        self._close_source()

    def status(self) -> SourceStatus:
        """How it is doing now."""
        now = self._clock.monotonic()
        with self._lock:
            last = self._state.last_frame
            return SourceStatus(
                name=self._name,
                live=self._source.live,
                state=self._state.state.value,
                last_frame_age_seconds=None if last is None else now - last,
                frames_read=self._frames,
                drops=dict(self._drops),
                faults=dict(self._source.faults),
                stalls=self._state.stalls,
                reconnects=self._state.reconnects,
                last_error=self._state.last_error,
                heartbeat_seconds=self._heartbeat,
            )

    def _next_step(self) -> Step:
        now = self._clock.monotonic()
        with self._lock:
            self._heartbeat = now
            return self._state.next(now)

    def _open(self) -> None:
        try:
            with self._inside():
                self._source.open()
        except Exception as error:
            self._lost(error)
            return
        with self._lock:
            self._state.opened(self._clock.monotonic())

    def _read(self, deliver: Deliver) -> None:
        try:
            frame = self._step_to_next()
        except Exception as error:
            self._lost(error)
            return
        if frame is not None:
            deliver(frame, self._patient)

    def _step_to_next(self) -> Frame | None:
        """Steps once; the frame if it is wanted, else None."""
        with self._inside():
            found = self._source.grab()
        if not found:
            self._ended()
            return None
        if (cause := self._count_frame()) is not None:
            self.drop(cause)
            return None
        with self._inside():
            return self._source.retrieve()

    def _count_frame(self) -> str | None:
        """Takes note of a frame; the cause to pass over it, if there is one."""
        now = self._clock.monotonic()
        rate = self._source.frames_per_second
        with self._lock:
            number = self._frames
            self._frames += 1
            lost_for = self._state.frame(now)
        if number == 0:
            self._logged = None
            _log.info("source delivers", source=self._name)
        if lost_for is not None:
            self._logged = None
            _log.info("source is back", source=self._name, lost_seconds=round(lost_for, 1))
        if self._source.live:
            seconds: float | None = now
        else:
            seconds = number / rate if rate else None
        return self._gate.refuse(number, seconds, self._divisor())

    def _ended(self) -> None:
        with self._lock:
            if not self._state.closed_for_stall:
                self._state.ended()
                return
        self._lost(SourceLost("closed after a stall"))

    def _lost(self, error: Exception) -> None:
        if self._closing.is_set():
            return
        reason = _line(error)
        with self._lock:
            self._state.lost(self._clock.monotonic(), reason)
            failed = self._state.state is State.FAILED
        self._close_source()
        if failed:
            self.error = error if isinstance(error, SourceError) else SourceLost(f"{self._name}: {reason}")
        elif reason != self._logged:  # a dead camera is tried for ever, but told of once
            self._logged = reason
            _log.warning("source lost, trying again", source=self._name, reason=reason)

    def _close_source(self) -> None:
        try:
            self._source.close()
        except Exception as error:
            _log.warning("source does not close", source=self._name, reason=_line(error))

    def _patient(self) -> bool:
        with self._lock:
            self._heartbeat = self._clock.monotonic()
        return not self._closing.is_set()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._inside_source = True
        try:
            yield
        finally:
            self._inside_source = False


def _line(error: Exception) -> str:
    """What happened, in one line without credentials."""
    text = str(error) if isinstance(error, SourceError) else f"{type(error).__name__}: {error}"
    return redact_url(" ".join(text.split()))
