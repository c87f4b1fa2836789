# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from helmet_cloud.api.front import MAX_BODY_BYTES, Front
from helmet_cloud.api.problem import install_problems
from helmet_cloud.api.rates import MOST_CLIENTS, HubLimits, RateLimit, TokenBuckets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


class Never:
    """Lets nobody in, for two and a half seconds."""

    def wait_seconds(self, client: str, authorization: str | None, path: str) -> float:
        del client, authorization, path
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
    app = FastAPI(routes=[Route("/{rest:path}", _length, methods=["POST", "GET"])])
    install_problems(app)
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
    assert found.headers["x-frame-options"] == "DENY"
    if status == 413:
        assert found.headers["connection"] == "close"
        assert "at most" in found.json()["detail"]


@pytest.mark.survive
@pytest.mark.parametrize(("size", "status"), [(100, 200), (101, 413)])
def test_a_body_that_does_not_say_how_long_it_is_is_capped_too(size: int, status: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size):
            yield b"x"

    found = _ask(_front(), "POST", "/v1/examples/x", content=pieces())
    assert (found.status_code, found.headers.get("x-frame-options")) == (status, "DENY")


@pytest.mark.parametrize("path", ["/v1/examples", "/channel/metadata/timestamp.json"])
def test_who_asks_too_often_is_told_when_to_come_back(path: str) -> None:
    front = _front(Never())
    refused = _ask(front, "GET", path)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
    assert "in 3 s" in refused.json()["detail"]
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert front.answers[429] == 1


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60))
def test_a_bucket_never_lets_more_through_than_its_rate_and_reserve(pauses: list[float]) -> None:
    time = 0.0
    buckets = TokenBuckets(2.0, 5.0, lambda: time)
    allowed = 0
    for pause in pauses:
        time += pause
        wait = buckets.wait_seconds("192.0.2.1")
        allowed += wait == 0.0
        assert 0.0 <= wait <= 0.5 + 1e-9
        assert allowed <= 5.0 + 2.0 * time + 1e-6


def test_one_client_does_not_use_up_anothers_reserve() -> None:
    buckets = TokenBuckets(0.001, 2.0, lambda: 0.0)
    assert [buckets.wait_seconds("192.0.2.1") == 0.0 for _ in range(3)] == [True, True, False]
    assert buckets.wait_seconds("192.0.2.2") == 0.0


def test_strangers_at_an_address_spend_its_reserve_and_never_a_nodes() -> None:
    time = 0.0
    limits = HubLimits(lambda header: header, 1.0, 0.2, 1.0, lambda: time)  # reserves of 10, 2 and 10

    def let_in(client: str, name: str | None, path: str = "/v1/nodes") -> int:
        return sum(limits.wait_seconds(client, name, path) == 0.0 for _ in range(20))

    assert let_in("192.0.2.1", None) == 2
    assert let_in("192.0.2.1", "node:a") == 10
    assert let_in("192.0.2.9", "node:a") == 0, "a token has one reserve, wherever it is shown"
    assert let_in("192.0.2.1", "node:b") == 10
    assert let_in("192.0.2.1", None, "/channel/metadata/timestamp.json") == 10
    assert let_in("2001:db8::1", None) == 2
    assert let_in("2001:db8::ffff", None) == 0, "one network"
    assert let_in("::ffff:192.0.2.1", None) == 0, "the same address as before"
    time = 5.0
    assert let_in("192.0.2.1", None) == 1


def test_many_clients_push_out_those_that_were_not_heard_of_for_long() -> None:
    buckets = TokenBuckets(0.001, 1.0, lambda: 0.0)
    assert buckets.wait_seconds("first") == 0.0
    for number in range(MOST_CLIENTS - 1):
        buckets.wait_seconds(str(number))
    assert buckets.wait_seconds("first") > 0.0
    buckets.wait_seconds("another")
    assert buckets.wait_seconds("first") > 0.0
    assert buckets.wait_seconds("0") == 0.0, "forgotten"


def test_a_rate_of_zero_is_no_limit() -> None:
    limits = HubLimits(lambda _header: None, 0.0, 0.0, 0.0)
    assert not any(limits.wait_seconds("192.0.2.1", None, "/") for _ in range(100_000))
