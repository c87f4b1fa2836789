# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from helmet_agent.contract import NodeReport
from helmet_cloud.api.auth import Auth
from helmet_cloud.cli import main
from helmet_cloud.errors import Unauthorized
from helmet_cloud.settings import HubHome
from helmet_cloud.store.nodes import take_report
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.tokens import new_token, token_digest

if TYPE_CHECKING:
    from pathlib import Path

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hub.toml").touch()
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    return main(["nodes", *arguments, "--data-dir", str(folder)])


def test_enrol_and_revoke_count_at_once_for_a_hub_that_runs(folder: Path, capsys: Captured) -> None:
    token = new_token()
    database = open_database(HubHome.load(folder))
    auth = Auth(database)  # of the running hub
    with pytest.raises(Unauthorized):
        auth.identify(f"Bearer {token}")
    enrol = ("add", "edge-1", "--token-sha256", token_digest(token), "--ring", "canary")
    assert run(folder, *enrol) == run(folder, *enrol) == 0
    assert auth.identify(f"Bearer {token}").may_act_for("edge-1")
    assert run(folder, "revoke", "edge-1") == run(folder, "revoke", "edge-1") == 0
    with pytest.raises(Unauthorized):
        auth.identify(f"Bearer {token}")
    said = ["added", "unchanged", "revoked", "unchanged"]
    assert capsys.readouterr().out.splitlines() == [f"edge-1: {word}" for word in said]
    database.close()


def test_the_list_shows_model_ring_health_and_silence(folder: Path, capsys: Captured) -> None:
    for name, ring in (("edge-1", "canary"), ("edge-22", "stable"), ("edge-3", "stable")):
        assert run(folder, "add", name, "--token-sha256", token_digest(new_token()), "--ring", ring) == 0
    assert run(folder, "revoke", "edge-3") == 0
    report = NodeReport(
        "edge-1", "0.1.0", 1.0, None, "canary", "a" * 64, 4, "probation", False, ("camera gate is away",)
    )
    database = open_database(HubHome.load(folder))
    with database.write() as session:
        take_report(session, report, time.time() + 3600)
    database.close()
    capsys.readouterr()
    assert run(folder, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "RING", "MODEL", "RELEASE", "STATE", "HEALTH", "SEEN"]
    assert lines[1].startswith("edge-1   canary  aaaaaaaaaaaa  4        probation  camera gate is away  ")
    assert lines[2].split() == ["edge-22", "stable", "-", "-", "-", "never", "heard", "-"]
    assert lines[3].split() == ["edge-3", "stable", "-", "-", "-", "revoked", "-"]
    assert lines[4] == "aaaaaaaaaaaa: 1 node"
    assert run(folder, "list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["by_model"] == {"a" * 64: ["edge-1"]}
    assert [node["name"] for node in found["nodes"]] == ["edge-1", "edge-22", "edge-3"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["add", "../x", "--token-sha256", "a" * 64], 1, "node name: expected letters"),
        (["add", "edge-1", "--token-sha256", "hmt_secret"], 1, "token digest: expected 64"),
        (["add", "edge-1"], 2, "Missing option '--token-sha256'"),
        (["revoke", "nobody"], 1, "no node is called nobody"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    folder: Path, arguments: list[str], code: int, message: str, capsys: Captured
) -> None:
    assert run(folder, *arguments) == code
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_folder_that_is_no_hubs_is_said_to_be_none(tmp_path: Path, capsys: Captured) -> None:
    assert run(tmp_path, "list") == 2
    assert "run `helmet-cloud init" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
