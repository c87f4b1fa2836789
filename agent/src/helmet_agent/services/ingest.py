# SPDX-License-Identifier: Apache-2.0
"""From many sources to one stream of prepared frames.

::

    source --reader thread--> lane of the mailbox --+
    source --reader thread--> lane of the mailbox --+--take(), the lanes in turn--> the inference loop
                   ^
    supervisor ----+ notices stalls

A live source keeps only its latest frame: what was not taken in time is replaced and counted. A file waits until there
is room and loses nothing.

Files are letterboxed by their readers, so that the inference loop only infers. So is a live frame that the loop waits
for; one that comes while the loop is busy may yet be replaced, and is letterboxed only when it is taken.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import structlog

from helmet_agent.retry import Backoff
from helmet_agent.services.mailbox import Mailbox
from helmet_agent.services.reader import SourceReader, SourceStatus
from helmet_agent.services.source_state import SourceState
from helmet_agent.walkaway import wait_for_left_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from helmet_agent.errors import SourceError
    from helmet_agent.ports import BgrImage, Clock, Frame, FrameSource
    from helmet_agent.source_url import SourceSettings
    from helmet_agent.vision.letterbox import PreparedFrame

__all__ = ["Arrival", "Ingest", "SourceStatus"]

RECONNECT_INITIAL_SECONDS = 0.1
RECONNECT_CAP_SECONDS = 1.0
RECONNECT_FACTOR = 2.0
_SUPERVISION_SECONDS = 0.2
_PATIENCE_SECONDS = 0.2
_JOIN_SECONDS = 1.0  # of the 2 s that the agent has after SIGTERM
_SPARE_BUFFERS = 4

_log = structlog.get_logger(__name__)


class Arrival:
    """A frame that is ready for the network.

    Attributes:
        frame: the picture; the receiver may keep it.
        prepared: the same, letterboxed; its pixels are reused after ``release``.
        source: the name of the source as configured (``frame.source`` of a folder's pictures is their path).
    """

    __slots__ = ("_spare", "frame", "prepared", "source")

    def __init__(self, frame: Frame, prepared: PreparedFrame, source: str, spare: deque[PreparedFrame]) -> None:
        self.frame = frame
        self.prepared = prepared
        self.source = source
        self._spare: deque[PreparedFrame] | None = spare

    def release(self) -> None:
        """Gives the letterbox buffer back; ``prepared`` must not be touched afterwards. Idempotent."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.append(self.prepared)


@dataclass(slots=True)
class _Waiting:
    frame: Frame
    prepared: PreparedFrame | None


class Ingest:
    """Reads all sources at once and hands out their frames in turn.

    Args:
        sources: each with its settings.
        prepare: letterboxes a picture, into the buffers of the second argument when given; called by several threads.
        clock: time.
        random: numbers in [0, 1) for the jitter between attempts to reconnect.
        until_eof: a batch run: it is over when every file is, and a camera that fails before its first frame has
            failed for good. Otherwise it goes on until it is closed.
    """

    def __init__(
        self,
        sources: Sequence[tuple[FrameSource, SourceSettings]],
        prepare: Callable[[BgrImage, PreparedFrame | None], PreparedFrame],
        clock: Clock,
        random: Callable[[], float],
        *,
        until_eof: bool = False,
    ) -> None:
        self._prepare = prepare
        self._until_eof = until_eof
        self._divisor = 1
        self._mailbox: Mailbox[_Waiting] = Mailbox(len(sources))
        # Each source has its own: a buffer that changes hands between picture sizes must be laid out anew.
        self._spare: list[deque[PreparedFrame]] = [deque(maxlen=_SPARE_BUFFERS) for _ in sources]
        self._live = [source.live for source, _ in sources]
        self._names = [settings.display_name for _, settings in sources]
        self._readers: list[SourceReader] = []
        for source, settings in sources:
            backoff = Backoff(RECONNECT_INITIAL_SECONDS, RECONNECT_CAP_SECONDS, RECONNECT_FACTOR, random)
            state = SourceState(
                live=source.live, stall_seconds=settings.stall_seconds, backoff=backoff, give_up_unseen=until_eof
            )
            self._readers.append(SourceReader(source, settings, state, clock, lambda: self._divisor))
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts a thread for each source, and one that looks after them."""
        atexit.register(self.close)  # threads that decode while Python shuts down would abort the process
        for lane, reader in enumerate(self._readers):
            self._start(f"source {self._names[lane]}", partial(self._read, lane, reader))
        self._start("source supervisor", self._supervise)

    def take(self, timeout: float) -> Arrival | None:
        """The next frame of the source whose turn it is; None when nothing came in time (seconds) or ever will."""
        deadline = time.monotonic() + timeout
        while (found := self._mailbox.take(deadline - time.monotonic())) is not None:
            lane, waiting = found
            prepared = waiting.prepared or self._letterbox(lane, waiting.frame)
            if prepared is not None:
                return Arrival(waiting.frame, prepared, self._names[lane], self._spare[lane])
        return None

    @property
    def ended(self) -> bool:
        """Whether no frame will ever come again: a batch run whose sources are all over and taken."""
        return self._until_eof and self._mailbox.finished

    @property
    def failures(self) -> tuple[SourceError, ...]:
        """One line each for the sources that failed for good."""
        return tuple(reader.error for reader in self._readers if reader.error is not None)

    def statuses(self) -> tuple[SourceStatus, ...]:
        """How each source is doing, in the order given."""
        return tuple(reader.status() for reader in self._readers)

    def set_frame_divisor(self, divisor: int) -> None:
        """Takes only one in so many of the frames that would be taken; 1 takes all. For when memory is short."""
        self._divisor = max(1, divisor)

    def close(self) -> bool:
        """Stops all readers, within about a second.

        Returns:
            False when a source still hangs in its driver or decoder; the process should then end by ``os._exit``.
        """
        atexit.unregister(self.close)
        deadline = time.monotonic() + _JOIN_SECONDS
        self._closing.set()
        self._mailbox.close()
        for reader in self._readers:
            reader.close()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        left = wait_for_left_threads(max(0.0, deadline - time.monotonic()))
        return left == 0 and not any(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, name: str, body: Callable[[], None]) -> None:
        # Daemons, so that a source which never comes back cannot keep the process from ending.
        thread = threading.Thread(target=body, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read(self, lane: int, reader: SourceReader) -> None:
        try:
            reader.run(partial(self._post if self._live[lane] else self._hand_over, lane))
        finally:
            if self._until_eof:
                self._mailbox.finish(lane)  # whoever waits for the end tells of failures
            elif reader.error is not None:
                _log.error("source failed", source=self._names[lane], reason=str(reader.error))

    def _supervise(self) -> None:
        while not self._closing.wait(_SUPERVISION_SECONDS):
            for reader in self._readers:
                reader.supervise()

    def _post(self, lane: int, frame: Frame, _patient: Callable[[], bool]) -> None:
        prepared = None
        if self._mailbox.waiting:
            prepared = self._letterbox(lane, frame)
            if prepared is None:
                return
        replaced = self._mailbox.post(lane, _Waiting(frame, prepared))
        if replaced is not None:
            self._readers[lane].drop("replaced")
            if replaced.prepared is not None:
                self._spare[lane].append(replaced.prepared)

    def _hand_over(self, lane: int, frame: Frame, patient: Callable[[], bool]) -> None:
        prepared = self._letterbox(lane, frame)
        if prepared is None:
            return
        waiting = _Waiting(frame, prepared)
        while not self._mailbox.hand_over(lane, waiting, _PATIENCE_SECONDS):
            if not patient():
                return

    def _letterbox(self, lane: int, frame: Frame) -> PreparedFrame | None:
        try:
            reuse = self._spare[lane].pop()
        except IndexError:
            reuse = None
        try:
            return self._prepare(frame.image, reuse)
        except Exception as error:
            self._readers[lane].drop("unpreparable")
            _log.warning(
                "frame left out", source=frame.source, frame=frame.seq, reason=f"{type(error).__name__}: {error}"
            )
            return None
