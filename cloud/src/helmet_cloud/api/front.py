# SPDX-License-Identifier: Apache-2.0
"""What every request meets first: headers for safety, a cap on what is sent, a limit on how often one may ask."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from typing import TYPE_CHECKING

from helmet_cloud.api.channel import PREFIX
from helmet_cloud.api.problem import problem
from helmet_cloud.api.rates import NoLimit
from helmet_cloud.errors import TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import Any

    from starlette.types import ASGIApp, Receive, Scope, Send

    from helmet_cloud.api.rates import RateLimit

MAX_BODY_BYTES = 4 << 20
"""Larger than any manifest or report; the paths that take pictures have caps of their own."""

SAFETY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"strict-transport-security", b"max-age=31536000"),
)
DRAIN_SECONDS, DRAIN_BYTES = 5.0, 64 << 20
"""How long, and how much, a refused body may still run in; none of it is kept."""

NOT_KEPT = (b"cache-control", b"no-store")


class Front:
    """The outermost ASGI application.

    Args:
        app: the hub's REST interface.
        channel: the static files.
        caps: largest body by beginning of the path, in bytes; ``MAX_BODY_BYTES`` elsewhere.
        limit: asked for every request.
    """

    def __init__(self, app: ASGIApp, channel: ASGIApp, caps: Mapping[str, int], limit: RateLimit | None = None) -> None:
        self._app = app
        self._channel = channel
        self._caps = caps
        self._limit = limit or NoLimit()
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.answers: Counter[int] = Counter()

    def close(self) -> None:
        """Tells answers that have no end, such as watches, that their client has gone; from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its answers with it
                self._loop.call_soon_threadsafe(self._closing.set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        wait = self._wait(scope)
        if path.startswith(PREFIX) and wait <= 0:
            await self._channel(scope, receive, _with_headers(send, SAFETY))
            return

        unfinished = False

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal unfinished
            if message["type"] == "http.response.start":
                self.answers[message["status"]] += 1
            unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        answer = _with_headers(counted, (*SAFETY, NOT_KEPT))
        if wait > 0:
            seconds = math.ceil(wait)
            detail = f"too many requests with this token or from this address; try again in {seconds} s"
            await problem(429, detail, {"Retry-After": str(seconds)})(scope, receive, answer)
            return
        cap = next((cap for beginning, cap in self._caps.items() if path.startswith(beginning)), MAX_BODY_BYTES)
        said = next((value for key, value in scope["headers"] if key == b"content-length"), b"")
        if said.isdigit() and int(said) > cap:
            await _refuse_large(f"{int(said)} bytes; at most {cap} are taken here", receive, answer)
            return
        self._loop = asyncio.get_running_loop()
        await self._app(scope, self._receiver(receive, cap), answer)
        if unfinished and self._closing.is_set():
            await send({"type": "http.response.body", "body": b""})

    def _wait(self, scope: Scope) -> float:
        """Seconds until this client may ask; 0: now."""
        client = scope["client"][0] if scope.get("client") else ""
        header = next((value for key, value in scope["headers"] if key == b"authorization"), None)
        return self._limit.wait_seconds(client, None if header is None else header.decode("latin-1"), scope["path"])

    def _receiver(self, receive: Receive, cap: int) -> Receive:
        """Counts a body that did not say how long it is; once it is there, hears of the hub's end too."""
        taken, whole = 0, False

        async def receiving() -> MutableMapping[str, Any]:
            nonlocal taken, whole
            if whole:
                return await self._last(receive)
            message = await receive()
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > cap:
                raise TooLarge(f"more than {cap} bytes; no more are taken here")
            return message

        return receiving

    async def _last(self, receive: Receive) -> MutableMapping[str, Any]:
        gone, closing = asyncio.ensure_future(receive()), asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((gone, closing), return_when=asyncio.FIRST_COMPLETED)
            return gone.result() if gone.done() else {"type": "http.disconnect"}
        finally:
            gone.cancel()
            closing.cancel()


async def _refuse_large(detail: str, receive: Receive, send: Send) -> None:
    """Answers at once, then lets what is under way run into the void for a while.

    Closing at once would reset the connection, and clients that send everything before they read would never see why.
    """
    answer = problem(413, detail, {"Connection": "close"})
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": bytes(answer.body), "more_body": True})
    dropped = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            more = True
            while more and dropped < DRAIN_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                more = bool(message.get("more_body", False))
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: Send, headers: tuple[tuple[bytes, bytes], ...]) -> Send:
    """Adds headers that the answer does not have itself."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {key.lower() for key, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(one for one in headers if one[0] not in there)]
        await send(message)

    return sending
