# SPDX-License-Identifier: Apache-2.0
"""The archive for whoever looks for a fault: what is in it, and that no secret is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.app.scrubbing import Scrubber

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = {
    "in the address": "hunter2-camera",
    "credentials file": 'pa"ss/w0rd@gate',
    "hub token": "hmt_" + "A1" * 21 + "z",
    "api token": "api-token-of-this-node",
    "another token": "hmt_" + "B2" * 21 + "y",
    "in the configuration": "written-where-it-should-not-be",
    "key": "MC4CAQAwBQYDK2VwBCIEIsecretsecretsecret",
}
CONFIG = """
[node]
name = "edge1"
data_dir = "{folder}/data"
[[sources]]
name = "gate"
url = "rtsp://admin:{password}@192.0.2.10:554/stream1"
[[sources]]
name = "yard"
url = "rtsp://192.0.2.11:554/stream1"
credentials_file = "{folder}/yard.credentials"
[api]
listen = "127.0.0.1:1"
token_file = "{folder}/api.token"
[hub]
url = "https://192.0.2.20:8443"
token_file = "{folder}/hub.token"
# password = "{commented}"
"""
JOURNAL = """#!/bin/sh
cat <<'END'
connecting to rtsp://admin:{in_address}@192.0.2.10:554/stream1
refused {credentials}
Authorization: Bearer {api}
token {other}
-----BEGIN PRIVATE KEY-----
{key}
-----END PRIVATE KEY-----
the line after
END
"""


def node(folder: Path) -> Path:
    """A node with a secret in every place that can hold one; returns its configuration."""
    events = folder / "data" / "events"
    events.mkdir(parents=True)
    (events / "events.jsonl").write_text(json.dumps({"kind": "source_lost", "why": SECRETS["credentials file"]}) + "\n")
    (events / "picture.jpg").write_bytes(b"\xff\xd8 a picture of somebody")
    (folder / "yard.credentials").write_text(f"admin:{SECRETS['credentials file']}\n")
    (folder / "api.token").write_text(f"{SECRETS['api token']}\n")
    (folder / "hub.token").write_text(f"{SECRETS['hub token']}\n")
    for name in ("yard.credentials", "api.token", "hub.token"):
        (folder / name).chmod(0o600)
    config = folder / "agent.toml"
    config.write_text(
        CONFIG.format(folder=folder, password=SECRETS["in the address"], commented=SECRETS["in the configuration"])
    )
    program = folder / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(
        JOURNAL.format(
            in_address=SECRETS["in the address"],
            credentials=SECRETS["credentials file"],
            api=SECRETS["api token"],
            other=SECRETS["another token"],
            key=SECRETS["key"],
        )
    )
    program.chmod(0o755)
    return config


def collected(config: Path, output: Path) -> dict[str, str]:
    """Runs the command; the archive's members by name."""
    subprocess.run(
        [sys.executable, "-m", "helmet_agent", "diagnostics", "--config", str(config), "--output", str(output)],
        env=os.environ | {"PATH": f"{config.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )
    with tarfile.open(output) as archive:
        opened = {member.name: archive.extractfile(member) for member in archive}
        return {name.partition("/")[2]: file.read().decode() for name, file in opened.items() if file is not None}


def test_the_archive_holds_what_helps_and_no_secret(tmp_path: Path) -> None:
    found = collected(node(tmp_path), tmp_path / "out.tar.gz")
    assert set(found) == {
        "version.json", "agent.toml", "doctor.json", "machine.json", "journal.txt", "models.json", "health.json",
        "status.json", "events.jsonl",
    }  # fmt: skip
    for what, secret in SECRETS.items():
        spelt = (secret, json.dumps(secret)[1:-1], secret.split("@")[0])
        leaks = [name for name, text in found.items() if any(each in text for each in spelt)]
        assert leaks == [], what
    assert "192.0.2.10:554/stream1" in found["agent.toml"]
    assert "the line after" in found["journal.txt"]
    assert "source_lost" in found["events.jsonl"]
    assert "nobody answers" in found["status.json"]
    assert json.loads(found["doctor.json"])["findings"][0]["part"] == "config"
    assert (tmp_path / "out.tar.gz").stat().st_mode & 0o777 == 0o600


def test_a_node_whose_configuration_is_wrong_is_collected_too(tmp_path: Path) -> None:
    config = node(tmp_path)
    config.write_text(config.read_text() + '\n[nod]\npassword = "hunter2-camera"\n')
    found = collected(config, tmp_path / "out.tar.gz")
    assert "nod" in found["doctor.json"]
    assert SECRETS["in the address"] not in "".join(found.values())


@given(st.text(min_size=4), st.text(), st.text())
def test_a_word_that_is_secret_is_gone_wherever_it_stands(word: str, before: str, after: str) -> None:
    assert word not in Scrubber((word,))(f"{before}{word}{after}").replace("***", "")
