# SPDX-License-Identifier: Apache-2.0
"""Readers of bodies, each alone: what is too large or too slow, said or not, costs next to nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request

from helmet_cloud.api.bodies import read_text_body
from helmet_cloud.api.kube.bodies import MAX_BODY_BYTES, read_body
from helmet_cloud.api.kube.failure import Refused
from helmet_cloud.errors import TooLarge, TooSlow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.survive
PIECE = 1 << 16


async def _text(request: Request) -> bytes:
    return await read_text_body(request, MAX_BODY_BYTES)


READERS: dict[str, Callable[[Request], Awaitable[bytes]]] = {"text": _text, "kube": read_body}


class Sender:
    """Sends so many bytes in pieces, and counts what was taken of them."""

    def __init__(self, size: int, **headers: str) -> None:
        self.left, self.taken = size, 0
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.request = Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, self.receive)

    async def receive(self) -> dict[str, Any]:
        piece = min(PIECE, self.left)
        self.left -= piece
        self.taken += piece
        return {"type": "http.request", "body": bytes(piece), "more_body": self.left > 0}


def read(reader: str, sender: Sender) -> bytes:
    async def reading() -> bytes:
        return await READERS[reader](sender.request)

    return asyncio.run(reading())


@pytest.mark.parametrize("reader", READERS)
def test_what_fits_is_read_whether_its_length_is_said_or_not(reader: str) -> None:
    assert len(read(reader, Sender(MAX_BODY_BYTES))) == MAX_BODY_BYTES
    assert len(read(reader, Sender(MAX_BODY_BYTES, content_length=str(MAX_BODY_BYTES)))) == MAX_BODY_BYTES


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("said", [str(MAX_BODY_BYTES + 1), "9" * 5000, "-1", "many"])
def test_nothing_is_read_of_what_says_that_it_is_too_large(reader: str, said: str) -> None:
    sender = Sender(MAX_BODY_BYTES + 1, content_length=said)
    with pytest.raises(TooLarge):
        read(reader, sender)
    assert sender.taken == 0


@pytest.mark.parametrize("reader", READERS)
def test_what_grows_too_large_is_not_read_to_its_end(reader: str) -> None:
    sender = Sender(10 * MAX_BODY_BYTES)
    with pytest.raises(TooLarge):
        read(reader, sender)
    assert sender.taken <= MAX_BODY_BYTES + PIECE


def test_what_drips_is_given_up() -> None:
    class Dripping(Sender):
        async def receive(self) -> dict[str, Any]:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

    async def reading() -> bytes:
        async with asyncio.timeout(30.0):
            return await read_text_body(Dripping(1).request, MAX_BODY_BYTES, 0.1)

    with pytest.raises(TooSlow, match=r"did not come within 0\.1 s"):
        asyncio.run(reading())


def test_kubernetes_bodies_are_not_unpacked() -> None:
    sender = Sender(10, content_encoding="gzip")
    with pytest.raises(Refused, match="compressed"):
        read("kube", sender)
    assert sender.taken == 0
