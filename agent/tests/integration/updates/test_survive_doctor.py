# SPDX-License-Identifier: Apache-2.0
"""Faults on the way of new models, injected for real, and what the doctor says to mend first."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.adapters.model_store import ModelStore
from helmet_agent.app.doctor import FAILED, Diagnosis, diagnose

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.survive
CLIP = resources.files("helmet_agent") / "assets" / "clips" / "one-by-one-person-detection.mp4"
SOURCE = f"[[sources]]\nname = 'gate'\nurl = '{CLIP}'\n"
Note = Callable[[str, object], None]


def failed(found: Diagnosis) -> tuple[str, str]:
    assert [finding.state for finding in found.findings].count(FAILED) == 1, found.text()
    assert found.cause is not None
    return found.cause.part, found.cause.text


def test_a_node_with_the_newest_release_is_well(channel: Any, make_model: Any, write_config: Any) -> None:
    config = write_config(SOURCE)
    assert diagnose(config).ok
    assert channel.root_file.is_file()
    assert make_model is not None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_text("{}"), "copy the hub's root.json again"),
        (lambda path: path.unlink(), "cannot be read: No such file"),
    ],
)
def test_a_trust_root_that_cannot_be_used(
    channel: Any, write_config: Any, record_property: Note, spoil: Callable[[Path], object], words: str
) -> None:
    config = write_config(SOURCE)
    spoil(channel.root_file)
    found = diagnose(config)
    assert found.cause is not None
    assert found.cause.part == "trust root"
    assert words in found.cause.text
    record_property("survive", f"item 10: trust root, {words} -> trust root")


def test_a_channel_that_another_hub_signs(
    channel: Any, write_config: Any, tmp_path: Path, record_property: Note
) -> None:
    config = write_config(SOURCE)
    other = type(channel)(tmp_path / "other" / "channel")
    channel.root_file.write_bytes(other.root_file.read_bytes())
    part, words = failed(diagnose(config))
    assert part == "channel"
    assert "does another hub sign it" in words
    record_property("survive", "item 10: foreign trust root -> channel")


def test_a_channel_that_is_away(write_config: Any, server: Any, record_property: Note) -> None:
    config = write_config(SOURCE)
    server.close()
    assert failed(diagnose(config))[0] == "channel"
    record_property("survive", "item 10: channel away -> channel")


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(
    channel: Any, make_model: Any, write_config: Any, tmp_path: Path, record_property: Note
) -> None:
    config = write_config(SOURCE)
    channel.publish(make_model(seed=5, release=7))
    (tmp_path / "data" / "models" / "journal.jsonl").mkdir(parents=True)
    part, words = failed(diagnose(config))
    assert part == "release"
    assert "could not be looked at" in words
    record_property("survive", "item 10: a check that breaks -> its own part")


def test_a_stale_release_with_what_is_in_its_way(
    channel: Any, make_model: Any, write_config: Any, tmp_path: Path, record_property: Note
) -> None:
    config = write_config(SOURCE)
    model = make_model(seed=5, release=7)
    channel.publish(model)
    part, words = failed(diagnose(config))
    assert part == "release"
    assert "stale: the configured model serves, the channel has release 7" in words
    assert "helmet-agent health" in words

    base = {"key": "a" * 64, "sha256": "b" * 64, "release": 3}
    refused = {"model": {"key": model.key, "sha256": model.sha256, "release": 7}, "reason": "too slow", "time": 1.0}
    state = {"current": base, "history": [base], "phase": "idle", "quarantined": [refused | {"manifest_only": False}]}
    store = ModelStore(tmp_path / "data" / "models")
    store.append({"state": state})
    store.close()
    part, words = failed(diagnose(config))
    assert part == "release"
    assert "stale: release 3 serves, the channel has release 7, which is in quarantine: too slow" in words
    assert f"helmet-agent models unquarantine {model.sha256}" in words

    channel.withdraw("jobs/default/helmet-detection-demo/stable.json")
    assert diagnose(config).ok
    assert json.dumps(diagnose(config).to_json())
    record_property("survive", "item 10: stale release, quarantined release -> release")
