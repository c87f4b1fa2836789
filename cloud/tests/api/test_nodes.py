# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from helmet_agent.contract import NodeReport
from helmet_cloud.api.auth import Auth
from helmet_cloud.api.nodes import MAX_REPORT_BYTES, nodes_router, parse_report
from helmet_cloud.api.problem import install_problems
from helmet_cloud.errors import BadRequest, Conflict, NotFound
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
from helmet_cloud.store.nodes import HISTORY, STALE_SECONDS, add_node, list_nodes, revoke_node
from helmet_cloud.store.tokens import add_token, new_token, token_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD, NEW = "a" * 64, "b" * 64
REPORT = NodeReport(
    node="edge-1",
    version="0.1.0",
    sent_seconds=5.0,
    job="default/helmet",
    ring="stable",
    model=OLD,
    release=3,
    state="confirmed",
    healthy=True,
    rates={"frames_per_second": 12.5},
)


class Fleet:
    def __init__(self, path: Path) -> None:
        self.now = 1000.0
        self.database = Database(path)
        Base.metadata.create_all(self.database.engine)
        app = FastAPI()
        install_problems(app)
        app.include_router(nodes_router(self.database, Auth(self.database), lambda: self.now))
        self.client = TestClient(app)
        self.operator = self.token("operator", "kube")

    def token(self, name: str, scope: str) -> dict[str, str]:
        token = new_token()
        with self.database.write() as session:
            add_token(session, name, token_digest(token), [scope], 1.0)
        return {"Authorization": f"Bearer {token}"}

    def enrol(self, name: str, **more: Any) -> dict[str, str]:
        token = new_token()
        with self.database.write() as session:
            add_node(session, name, token_digest(token), None, self.now, **more)
        return {"Authorization": f"Bearer {token}"}

    def report(self, headers: dict[str, str], **changes: Any) -> int:
        report = dataclasses.replace(REPORT, **changes)
        return self.client.post(f"/v1/nodes/{report.node}/report", json=report.to_json(), headers=headers).status_code

    def get(self, path: str) -> Any:
        answer = self.client.get(path, headers=self.operator)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path / "hub.sqlite")
    yield fleet
    fleet.database.close()


def test_the_fleet_is_listed_by_the_model_that_runs(fleet: Fleet) -> None:
    one, two = fleet.enrol("edge-1"), fleet.enrol("edge-2")
    fleet.enrol("edge-3")
    assert (
        fleet.report(one) == fleet.report(two, node="edge-2", model=NEW, healthy=False, problems=("no camera",)) == 204
    )
    found = fleet.get("/v1/nodes")
    assert found["by_model"] == {OLD: ["edge-1"], NEW: ["edge-2"]}
    first, second, third = found["nodes"]
    assert first["rates"] == {"frames_per_second": 12.5}
    assert (first["model"], first["release"], first["ring"], first["stale"]) == (OLD, 3, "stable", False)
    assert (second["healthy"], second["problems"]) == (False, ["no camera"])
    assert (third["model"], third["seen_seconds"], third["stale"]) == (None, None, True)


def test_a_silent_node_is_shown_as_stale(fleet: Fleet) -> None:
    fleet.report(fleet.enrol("edge-1"))
    fleet.now += STALE_SECONDS
    assert not fleet.get("/v1/nodes")["nodes"][0]["stale"]
    fleet.now += 1
    assert fleet.get("/v1/nodes")["nodes"][0]["stale"]


def test_the_history_keeps_changes_and_is_bounded(fleet: Fleet) -> None:
    headers = fleet.enrol("edge-1")
    for number in range(3):
        fleet.now += 1
        fleet.report(headers, sent_seconds=float(number), rates={"frames_per_second": float(number)})
    assert len(fleet.get("/v1/nodes/edge-1")["history"]) == 1
    for number in range(HISTORY + 5):
        assert fleet.report(headers, release=number) == 204
    history = fleet.get("/v1/nodes/edge-1")["history"]
    assert [one["report"]["release"] for one in history] == list(range(HISTORY + 4, 4, -1))
    assert fleet.get("/v1/nodes/edge-1")["release"] == HISTORY + 4


def test_a_node_reports_for_itself_only_and_a_revoked_one_not_at_all(fleet: Fleet) -> None:
    one = fleet.enrol("edge-1")
    fleet.enrol("edge-2")
    assert fleet.report(one, node="edge-2") == 403
    assert fleet.client.get("/v1/nodes", headers=one).status_code == 403
    with fleet.database.write() as session:
        assert revoke_node(session, "edge-1", 2.0)
        assert not revoke_node(session, "edge-1", 2.0)
    assert fleet.report(one) == 401
    assert fleet.get("/v1/nodes")["nodes"][0]["revoked"] is True


def test_reports_that_cannot_be_right_are_refused(fleet: Fleet) -> None:
    headers = fleet.enrol("edge-1")

    def post(path: str, content: bytes) -> int:
        return fleet.client.post(path, content=content, headers=headers).status_code

    good = json.dumps(REPORT.to_json()).encode()
    assert post("/v1/nodes/edge-2/report", good) == 403, "a node's token is good for its own reports"
    assert post("/v1/nodes/edge-1/report", good.replace(b'"edge-1"', b'"edge-2"')) == 400
    assert post("/v1/nodes/..%2Fx/report", good) == 404
    assert post("/v1/nodes/edge-1/report", b"[" * 60_000) == 400
    assert post("/v1/nodes/edge-1/report", b" " * (MAX_REPORT_BYTES + 1)) == 413
    assert post("/v1/nodes/edge-1/report", good.replace(b'"confirmed"', b'"happy"')) == 400
    assert post("/v1/nodes/edge-1/report", good.replace(b"0.1.0", b"\\ud800")) == 400
    assert fleet.client.get("/v1/nodes/none", headers=fleet.operator).status_code == 404
    assert fleet.get("/v1/nodes")["nodes"][0]["seen_seconds"] is None


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=60) | st.text().map(lambda text: json.dumps({"node": text}).encode()))
def test_any_body_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^report: "):
        parse_report("edge-1", body)


def test_enrolling_twice_changes_nothing_and_another_token_has_to_be_wanted(fleet: Fleet) -> None:
    first, second = token_digest(new_token()), token_digest(new_token())

    def enrol(sha256: str, ring: str | None = None, **more: bool) -> str:
        with fleet.database.write() as session:
            return add_node(session, "edge-1", sha256, ring, 5.0, **more)

    assert enrol(first, "canary") == "added"
    assert enrol(first) == enrol(first, "canary") == "unchanged"
    assert enrol(first, "stable") == "changed"
    with pytest.raises(Conflict, match="has another token: revoke it, or add --replace"):
        enrol(second)
    assert enrol(second, replace=True) == "changed"
    assert enrol(second, replace=True) == "unchanged"
    with pytest.raises(Conflict, match="was revoked: make a new one"):
        enrol(first, replace=True)
    with fleet.database.write() as session:
        revoke_node(session, "edge-1", 6.0)
    with pytest.raises(Conflict, match="was revoked: make a new one"):
        enrol(second)
    assert enrol(token_digest(new_token())) == "changed"
    with fleet.database.read() as session:
        (row,) = list_nodes(session)
        assert (row.ring, row.revoked_seconds) == ("stable", None)


@pytest.mark.parametrize(
    ("name", "sha256", "ring"),
    [
        ("../x", OLD, None),
        ("", OLD, None),
        ("a b", OLD, None),
        ("x" * 129, OLD, None),
        ("a", "xyz", None),
        ("a", OLD, "x"),
    ],
)
def test_what_cannot_be_enrolled_is_refused(fleet: Fleet, name: str, sha256: str, ring: str | None) -> None:
    with fleet.database.write() as session, pytest.raises(BadRequest):
        add_node(session, name, sha256, ring, 1.0)


def test_a_token_of_another_node_cannot_be_used_twice(fleet: Fleet) -> None:
    with fleet.database.write() as session:
        add_node(session, "edge-1", OLD, None, 1.0)
    with fleet.database.write() as session, pytest.raises(Conflict, match="is node:edge-1's already"):
        add_node(session, "edge-2", OLD, None, 1.0)
    with fleet.database.write() as session, pytest.raises(NotFound):
        revoke_node(session, "edge-2", 1.0)
