# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from helmet_cloud.api.problem import install_problems
from helmet_cloud.errors import Busy, Conflict, HubError, NotFound, OutOfSpace


def other(request: Request, error: HubError) -> Response | None:
    return PlainTextResponse(f"other: {error}", error.status) if request.url.path.startswith("/apis") else None


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    install_problems(app, other)
    faults = {
        "busy": Busy("later"),
        "full": OutOfSpace("full"),
        "none": NotFound("no example 'a\ud800\x1bb'"),
        "bug": ZeroDivisionError("secret /var/lib/hub"),
    }

    @app.get("/fault/{name}", response_model=None)
    def fault(name: str, many: int = 1) -> None:
        raise faults[name] if many else Conflict("none")

    @app.get("/apis/{name}", response_model=None)
    def kube(name: str) -> None:
        raise NotFound(name)

    return TestClient(app, raise_server_exceptions=False)


def test_a_refusal_is_one_sentence_in_problem_json(client: TestClient) -> None:
    answer = client.get("/fault/none")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no example 'a\\ud800\\x1bb'",
    }


@pytest.mark.parametrize(("name", "status", "seconds"), [("busy", 429, "5"), ("full", 507, "60")])
def test_what_may_work_later_says_when(client: TestClient, name: str, status: int, seconds: str) -> None:
    answer = client.get(f"/fault/{name}")
    assert (answer.status_code, answer.headers["retry-after"]) == (status, seconds)


def test_a_bug_says_nothing_of_the_inside(client: TestClient) -> None:
    answer = client.get("/fault/bug")
    assert answer.status_code == 500
    assert answer.json()["detail"] == "the hub failed inside; its log has the reason"
    assert "secret" not in answer.text


def test_frameworks_refusals_have_the_same_form(client: TestClient) -> None:
    for answer, status in (
        (client.get("/nowhere"), 404),
        (client.post("/fault/busy"), 405),
        (client.get("/fault/busy?many=x"), 400),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    assert client.post("/fault/busy").headers["allow"] == "GET"
    assert "query.many" in client.get("/fault/busy?many=x").json()["detail"]


def test_another_face_may_answer_in_its_own_form(client: TestClient) -> None:
    answer = client.get("/apis/x")
    assert (answer.status_code, answer.text) == (404, "other: x")
