# SPDX-License-Identifier: Apache-2.0
"""A source that does what the test says, when the test says it."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helmet_agent.errors import SourceLost
from helmet_agent.ports import BgrImage, Frame
from helmet_agent.services.ingest import Arrival, Ingest
from helmet_agent.source_url import SourceSettings
from helmet_agent.vision.letterbox import LetterboxTransform, PreparedFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class RealClock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


class DrivenSource:
    """Implements ``FrameSource``; ``send`` makes a blocked ``read`` return a frame, None (the end) or raise."""

    def __init__(self, name: str = "gate", *, live: bool = True) -> None:
        self.name = name
        self.live = live
        self.opens = 0
        self.closes = 0
        self.refuse_opening: Exception | None = None
        self.closed = threading.Event()
        self._inbox: queue.Queue[object] = queue.Queue()
        self._seq = 0

    def send(self, what: object = "frame") -> None:
        self._inbox.put(what)

    def open(self) -> None:
        self.opens += 1
        self.closed.clear()
        if self.refuse_opening is not None:
            raise self.refuse_opening

    def read(self) -> Frame | None:
        what = self._next()
        if isinstance(what, Exception):
            raise what
        if what is None:
            return None
        image = np.full((4, 6, 3), self._seq % 256, np.uint8)
        self._seq += 1
        return Frame(self.name, self._seq - 1, time.time(), time.monotonic(), image)

    def close(self) -> None:
        self.closes += 1
        self.closed.set()

    def _next(self) -> object:
        while not self.closed.is_set():
            try:
                return self._inbox.get(timeout=0.005)
            except queue.Empty:
                continue
        return SourceLost("closed")


class CountingLetterbox:
    """``prepare`` that says how often it was called and with which buffers."""

    def __init__(self) -> None:
        self.calls = 0
        self.fresh = 0
        self.fail_on: set[int] = set()

    def __call__(self, image: BgrImage, reuse: PreparedFrame | None) -> PreparedFrame:
        self.calls += 1
        if int(image[0, 0, 0]) in self.fail_on:
            raise ValueError("no such picture")
        if reuse is None:
            self.fresh += 1
            reuse = PreparedFrame(np.empty((2, 2, 3), np.uint8), LetterboxTransform(0.5, 0.5, 0, 0, 6, 4))
        reuse.pixels[:] = image[:2, :2]
        return reuse


def wait_until(promise: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not promise():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def drain(ingest: Ingest, timeout: float = 10.0) -> list[Arrival]:
    """Everything until the batch run is over."""
    found = []
    deadline = time.monotonic() + timeout
    while not ingest.ended:
        assert time.monotonic() < deadline, "never ended"
        if (arrival := ingest.take(0.1)) is not None:
            found.append(arrival)
            arrival.release()
    return found


class Rig:
    """What the tests of the ingest share."""

    DrivenSource = DrivenSource
    wait_until = staticmethod(wait_until)
    drain = staticmethod(drain)

    def __init__(self) -> None:
        self.letterbox = CountingLetterbox()
        self.clock = RealClock()
        self._started: list[Ingest] = []

    def ingest(self, *sources: object, until_eof: bool = False, **settings: object) -> Ingest:
        pairs = [(each, SourceSettings(each.name, "driven", **settings)) for each in sources]
        made = Ingest(pairs, self.letterbox, self.clock, lambda: 0.5, until_eof=until_eof)
        self._started.append(made)
        made.start()
        return made

    def close(self) -> None:
        for each in self._started:
            each.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()
