# SPDX-License-Identifier: Apache-2.0
"""Answers that go on: server-sent events and the moving picture."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from helmet_agent.api.preview import PreviewRefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import Receive, Scope, Send

    from helmet_agent.api.broadcast import EventFeed, NumberedEvent
    from helmet_agent.api.preview import Viewer

BOUNDARY = "picture"


class StreamGate:
    """Knows the streams that are open, so that a server that stops can end them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: set[Callable[[], None]] = set()
        self.closing = False

    def enter(self, wake: Callable[[], None]) -> None:
        """A stream begins; ``wake`` makes it look at ``closing``."""
        with self._lock:
            self._wakers.add(wake)

    def leave(self, wake: Callable[[], None]) -> None:
        """A stream has ended."""
        with self._lock:
            self._wakers.discard(wake)

    def close(self) -> None:
        """Ends all streams; from any thread."""
        with self._lock:
            self.closing = True
            wakers = tuple(self._wakers)
        for wake in wakers:
            wake()


class LongResponse(StreamingResponse):
    """A stream that cleans up even when the client is gone before its first byte."""

    def __init__(self, content: AsyncIterator[bytes], media_type: str, done: Callable[[], None]) -> None:
        # Without X-Accel-Buffering nginx would hold events back until a buffer is full.
        super().__init__(content, media_type=media_type, headers={"X-Accel-Buffering": "no"})
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


class Waker:
    """Lets any thread wake a coroutine; after its loop has ended nothing happens."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def __call__(self) -> None:
        """Wakes."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> bool:
        """Until woken, at most so long; whether it was woken."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


async def event_lines(
    feed: EventFeed, waker: Waker, gate: StreamGate, heartbeat_seconds: float
) -> AsyncIterator[bytes]:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) until the gate closes.

    A comment goes out every ``heartbeat_seconds`` without an event, so that proxies keep the connection and a client
    that is gone is noticed. A ``lost`` event tells a slow client how many were dropped.
    """
    yield b"retry: 2000\n: listening\n\n"
    while not gate.closing:
        lost, found = feed.take()
        if lost:
            yield f'event: lost\ndata: {{"lost": {lost}}}\n\n'.encode()
        for numbered in found:
            yield _event(numbered)
        if not found and not await waker.wait(heartbeat_seconds):
            yield b": alive\n\n"


async def pictures(viewer: Viewer, gate: StreamGate, period_seconds: float) -> AsyncIterator[bytes]:
    """A multipart picture stream until the gate closes or the preview is shed; at most one picture a period."""
    loop = asyncio.get_running_loop()
    yield f"--{BOUNDARY}\r\n".encode()
    while not gate.closing:
        begun = loop.time()
        try:
            jpeg = await asyncio.to_thread(viewer.picture)
        except PreviewRefusedError:
            return
        if jpeg is not None:
            # The boundary follows at once: browsers show a picture when they see its end.
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield head.encode() + jpeg + f"\r\n--{BOUNDARY}\r\n".encode()
        await asyncio.sleep(max(0.005, period_seconds - (loop.time() - begun)))


def _event(numbered: NumberedEvent) -> bytes:
    data = json.dumps(numbered.event.to_json())
    return f"id: {numbered.id}\nevent: {numbered.event.kind}\ndata: {data}\n\n".encode()
