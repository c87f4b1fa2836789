# SPDX-License-Identifier: Apache-2.0
"""Uploads are answered past the framework, and by the framework just the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

Make = Callable[..., bytes]


@pytest.mark.parametrize("case", ["new", "other picture", "no token", "other node", "no kind"])
def test_both_ways_give_the_same_answer(hub: Any, make_jpeg: Make, make_body: Make, case: str) -> None:
    token = hub.token("node:edge-2" if case == "other node" else "node:edge-1")
    headers = {"Content-Type": "application/vnd.helmet.example", "Authorization": f"Bearer {token}"}
    if case in ("no token", "no kind"):
        del headers["Authorization" if case == "no token" else "Content-Type"]
    found = []
    with hub.client() as past, TestClient(hub.app) as through:
        for number, way in enumerate((past, through)):
            jpeg = make_jpeg(number)
            sha256 = hashlib.sha256(b"" if case == "other picture" else jpeg).hexdigest()
            request = way.build_request("PUT", f"/v1/examples/{sha256}", content=make_body(jpeg))
            for name in ("Authorization", "Content-Type"):
                request.headers.pop(name, None)
            request.headers.update(headers)
            answer = way.send(request)
            told = answer.text.replace(sha256, "SHA256").replace(hashlib.sha256(jpeg).hexdigest(), "FOUND")
            found.append((answer.status_code, answer.headers["content-type"], told))
    assert found[0] == found[1]
    assert found[0][0] == {"new": 201, "other picture": 400, "no token": 401, "other node": 403, "no kind": 400}[case]


def test_everything_else_goes_on_to_the_framework(hub: Any) -> None:
    with hub.client("labels") as client:
        assert client.get("/v1/examples").json() == {"examples": [], "cursor": None}
        assert client.get(f"/v1/examples/{'0' * 64}").status_code == 404
        assert client.put("/v1/examples/a/b").status_code == 404
