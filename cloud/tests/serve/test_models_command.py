# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from helmet_agent.adapters.litert import bundled_model_dir, load_manifest
from helmet_cloud.channel import open_repository
from helmet_cloud.cli import main
from helmet_cloud.settings import HubHome

if TYPE_CHECKING:
    from pathlib import Path

JOB = "default/helmet-detection-demo"
BUNDLED = load_manifest(bundled_model_dir()).model.sha256[:6]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def digest(folder: Path, capsys: Captured) -> str:
    """The bundled model, added to the hub."""
    assert main(["models", "add", str(bundled_model_dir()), "--data-dir", str(folder)]) == 0
    return capsys.readouterr().out.strip()


def _json(capsys: Captured, *words: str) -> list[dict[str, object]]:
    assert main([*words, "--json"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_the_bundled_model_comes_with_the_float_weights_that_ship_with_the_hub(folder: Path, digest: str) -> None:
    kept = HubHome.load(folder).models / digest
    assert (kept / "weights.npz").stat().st_size > 1_000_000
    assert (kept / "model.tflite").stat().st_size == (bundled_model_dir() / "model.tflite").stat().st_size


def test_history_and_list_show_what_went_where(folder: Path, digest: str, capsys: Captured) -> None:
    options = ["--data-dir", str(folder)]
    assert main(["models", "publish", digest[:6], "--job", JOB, "--ring", "canary", *options]) == 0
    assert main(["models", "promote", "--job", JOB, "--reason", "a quiet day", *options]) == 0
    capsys.readouterr()
    history = _json(capsys, "models", "history", *options)
    assert [(row["ring"], row["release"], row["reason"]) for row in history] == [
        ("stable", 2, "a quiet day"),
        ("canary", 1, "published by hand"),
    ]
    assert [row["live"] for row in _json(capsys, "models", "list", *options)] == [[f"{JOB} canary", f"{JOB} stable"]]
    for words in (["models", "history", "--job", JOB], ["models", "list"]):
        assert main([*words, *options]) == 0
        assert digest[:12] in capsys.readouterr().out


def test_a_publication_by_hand_keeps_what_the_ring_had_unless_told(folder: Path, digest: str, capsys: Captured) -> None:
    options = ["--job", JOB, "--data-dir", str(folder)]
    assert main(["models", "publish", digest, "--cold", "--poll-seconds", "7", *options]) == 0
    assert main(["models", "publish", digest, *options]) == 0
    assert "release 1" in capsys.readouterr().out.splitlines()[-1]
    assert main(["models", "publish", digest, "--hot", *options]) == 0
    assert "release 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["publish", "ffff", "--job", JOB], 2, "no model begins with 'ffff'"),
        (["publish", "", "--job", "nonsense"], 2, "expected NAMESPACE/NAME"),
        (["publish", BUNDLED, "--job", JOB, "--ring", "everybody"], 1, "canary or stable"),
        (["promote", "--job", JOB], 1, "nothing in ring 'canary'"),
        (["add", "/nowhere"], 1, "no model folder"),
        (["lineage", BUNDLED], 1, "no round of this hub made a model"),
    ],
)
@pytest.mark.usefixtures("digest")
def test_what_cannot_be_done_is_said_in_one_line(
    words: list[str], code: int, said: str, folder: Path, capsys: Captured
) -> None:
    assert main(["models", *words, "--data-dir", str(folder)]) == code
    heard = capsys.readouterr().err
    assert said in heard
    assert heard.count("\n") == 1


def test_keys_are_rotated_and_shown_from_the_command_line(folder: Path, capsys: Captured) -> None:
    options = ["--data-dir", str(folder)]
    assert main(["channel", "rotate", "timestamp", *options]) == 0
    assert main(["channel", "resign", "root", *options]) == 0
    assert main(["channel", "resign", "targets", "--skip", "10", *options]) == 0
    capsys.readouterr()
    assert main(["channel", "status", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {role: one["version"] for role, one in found.items()} == {
        "root": 3,
        "targets": 12,
        "snapshot": 12,
        "timestamp": 13,
    }
    root = open_repository(HubHome.load(folder)).metadata / "3.root.json"
    assert (folder / "root.json").read_bytes() == root.read_bytes()
    assert main(["channel", "status", *options]) == 0
    assert "days left" in capsys.readouterr().out


def test_a_root_key_that_was_taken_away_is_named(folder: Path, capsys: Captured) -> None:
    (folder / "offline-keys" / "root.pem").unlink()
    assert main(["channel", "rotate", "snapshot", "--data-dir", str(folder)]) == 1
    assert "root key is missing" in capsys.readouterr().err
