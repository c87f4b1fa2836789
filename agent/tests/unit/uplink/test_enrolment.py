# SPDX-License-Identifier: Apache-2.0
"""The node's token: made once, shown to nobody."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

import pytest

from helmet_agent.adapters.hub_http.token import read_token
from helmet_agent.cli import main
from helmet_agent.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_token_is_made_once_and_only_its_digest_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hub.token"
    assert main(["enrol", "--token-file", str(path)]) == 0
    token = path.read_text().strip()
    assert re.fullmatch(r"hmt_[A-Za-z0-9_-]{43}", token)
    assert path.stat().st_mode & 0o777 == 0o600
    printed = capsys.readouterr()
    assert printed.out == hashlib.sha256(token.encode()).hexdigest() + "\n"
    assert main(["enrol", "--token-file", str(path)]) == 0
    again = capsys.readouterr()
    assert again.out == printed.out
    assert path.read_text().strip() == token
    assert token not in printed.out + printed.err + again.out + again.err


def test_json_names_the_node_and_says_whether_the_token_is_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[node]\nname = 'site-3'\n[hub]\nurl = 'https://hub.example'\ntoken_file = 'hub.token'\n")
    found = []
    for _ in range(2):
        assert main(["enrol", "--config", str(config), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    digest = hashlib.sha256((tmp_path / "hub.token").read_text().strip().encode()).hexdigest()
    assert found[0] == {"node": "site-3", "token_sha256": digest, "created": True}
    assert found[1] == found[0] | {"created": False}
    assert main(["enrol", "--token-file", str(tmp_path / "other"), "--node", "site-4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["node"] == "site-4"


def test_two_tokens_are_never_the_same(tmp_path: Path) -> None:
    for number in range(20):
        assert main(["enrol", "--token-file", str(tmp_path / str(number))]) == 0
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 20


def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hub.token"
    path.write_text("precious")
    path.chmod(0o600)
    assert main(["enrol", "--token-file", str(path)]) == 2
    assert path.read_text() == "precious"
    error = capsys.readouterr().err
    assert "expected one line, hmt_" in error
    assert "precious" not in error


def test_without_a_place_for_the_token_it_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enrol"]) == 2
    assert "--token-file FILE" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enrol", "--token-file", str(tmp_path / "gone" / "hub.token")]) == 1
    assert "create the folder" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o666, 0o644])
def test_a_token_that_others_could_take_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "hub.token"
    path.write_text("hmt_" + "a" * 43)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600"):
        read_token(path)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_token_for_owner_and_group_is_taken(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "hub.token"
    path.write_text("hmt_" + "a" * 43 + "\n")
    path.chmod(mode)
    assert read_token(path) == "hmt_" + "a" * 43


@pytest.mark.parametrize("content", [b"", b"\xff" * 47, b"hmt_short", b"hmt_" + b"a" * 44, b"x" * 10_000])
def test_what_is_no_token_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hub.token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="expected one line, hmt_ and 43") as caught:
        read_token(path)
    assert "aaaa" not in str(caught.value)
