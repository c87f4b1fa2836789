# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from helmet_cloud.api.front import MAX_BODY_BYTES, Front, RateLimit, TokenBuckets

if TYPE_CHECKING:
    from starlette.requests import Request


class Never:
    """Lets nobody in, for two and a half seconds."""

    def wait_seconds(self, client: str, path: str) -> float:
        del client, path
        return 2.5


async def _length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def _channel(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"file"})


def _ask(front: Front, method: str, path: str, **more: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(front, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            return await client.request(method, path, **more)

    return asyncio.run(ask())


def _front(limit: RateLimit | None = None) -> Front:
    app = Starlette(routes=[Route("/{rest:path}", _length, methods=["POST", "GET"])])
    return Front(app, _channel, {"/v1/examples": 100}, limit)


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/v1/examples/x", 100, 200),
        ("/v1/examples/x", 101, 413),
        ("/apis", MAX_BODY_BYTES, 200),
        ("/apis", MAX_BODY_BYTES + 1, 413),
    ],
)
def test_bodies_are_capped_by_path(path: str, size: int, status: int) -> None:
    found = _ask(_front(), "POST", path, content=b"x" * size)
    assert found.status_code == status
    if status == 413:
        assert found.headers["connection"] == "close"
        assert "at most" in found.json()["detail"]


def test_who_asks_too_often_is_told_when_to_come_back_but_the_channel_stays_open() -> None:
    front = _front(Never())
    refused = _ask(front, "GET", "/v1/examples")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
    assert _ask(front, "GET", "/channel/metadata/timestamp.json").text == "file"
    assert front.answers[429] == 1


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60))
def test_a_bucket_never_lets_more_through_than_its_rate_and_reserve(pauses: list[float]) -> None:
    time = 0.0
    buckets = TokenBuckets(2.0, 5.0, lambda: time)
    allowed = 0
    for pause in pauses:
        time += pause
        wait = buckets.wait_seconds("192.0.2.1", "/")
        allowed += wait == 0.0
        assert 0.0 <= wait <= 0.5 + 1e-9
        assert allowed <= 5.0 + 2.0 * time + 1e-6


def test_one_client_does_not_use_up_anothers_reserve() -> None:
    buckets = TokenBuckets(0.001, 2.0, lambda: 0.0)
    assert [buckets.wait_seconds("192.0.2.1", "/") == 0.0 for _ in range(3)] == [True, True, False]
    assert buckets.wait_seconds("192.0.2.2", "/") == 0.0
