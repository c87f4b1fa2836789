# SPDX-License-Identifier: Apache-2.0
"""No secret shows anywhere: a hub and a node run with planted ones while logs, processes and answers are read."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tarfile
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from helmet_cloud.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import RunningHub

    Serve = Callable[..., RunningHub]

CLIP = resources.files("helmet_agent") / "assets" / "clips" / "worker-zone-detection.mp4"
PASSWORD, OTHER_PASSWORD, QUERY = "Pla/nted@4711", "planted-in-the-address", "planted-in-the-query"
API_TOKEN = "planted-token-of-the-nodes-own-api"  # noqa: S105 - planted
SHOWN = 12


def agent(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "helmet_agent", *map(str, words)]


def secrets_of(folder: Path, node_token: str) -> dict[str, str]:
    """What must not show, by what it is: tokens, passwords in every spelling, a line of each private key."""
    found = {"admin token": (folder / "tokens" / "admin.token").read_text().strip(), "node token": node_token}
    found |= {"camera password": PASSWORD, "in an address": OTHER_PASSWORD, "in a query": QUERY, "API token": API_TOKEN}
    found["camera password, encoded"] = quote(PASSWORD, safe="")
    for path in (*(folder / "keys").iterdir(), *(folder / "offline-keys").iterdir(), *(folder / "tls").glob("*.key")):
        lines = [line for line in path.read_text().splitlines() if len(line) > SHOWN and "-----" not in line]
        found[f"key {path.name}"] = lines[0]
    return found


def processes() -> str:
    """The command lines of all processes, and the environments of the programs under test."""
    seen = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            seen.append(line)
            if b"helmet" in line:
                seen.append((entry / "environ").read_bytes())
    return b"\n".join(seen).decode(errors="replace")


@pytest.mark.survive
def test_no_secret_shows_in_a_log_a_process_list_an_answer_or_an_archive(  # noqa: PLR0915 - one life, read everywhere
    folder: Path, serve: Serve, tmp_path: Path, capfd: pytest.CaptureFixture[str], record_property: Callable[..., None]
) -> None:
    hub = serve(folder, "--log-level", "debug")
    token = tmp_path / "node.token"
    made = subprocess.check_output(agent("enrol", "--token-file", token, "--node", "edge-1", "--json"))
    digest = json.loads(made)["token_sha256"]
    assert main(["nodes", "add", "edge-1", "--token-sha256", digest, "--data-dir", str(folder)]) == 0
    (tmp_path / "camera").write_text(f"user:{PASSWORD}\n")
    (tmp_path / "api.token").write_text(API_TOKEN)
    for name in ("camera", "api.token"):
        (tmp_path / name).chmod(0o600)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port, dead = probe.getsockname()[1], 9
    config = tmp_path / "agent.toml"
    config.write_text(
        f"[node]\nname = 'edge-1'\ndata_dir = '{tmp_path / 'data'}'\n[log]\nlevel = 'debug'\n"
        f"[api]\nlisten = '127.0.0.1:{port}'\ntoken_file = '{tmp_path / 'api.token'}'\n"
        f"[hub]\nurl = '{hub.url}'\nca_file = '{folder / 'tls' / 'ca.crt'}'\ntoken_file = '{token}'\n"
        "report_seconds = 5\n"
        f"[[sources]]\nname = 'gate'\nurl = '{CLIP}'\nloop = true\nrealtime = true\n"
        f"[[sources]]\nname = 'yard'\nurl = 'rtsp://127.0.0.1:{dead}/a?token={QUERY}'\n"
        f"credentials_file = '{tmp_path / 'camera'}'\nopen_timeout_seconds = 1.0\n"
        f"[[sources]]\nname = 'dock'\nurl = 'rtsp://user:{OTHER_PASSWORD}@127.0.0.1:{dead}/b'\n"
        "open_timeout_seconds = 1.0\n"
    )
    secrets = secrets_of(folder, token.read_text().strip())
    seen: dict[str, str] = {"processes": ""}
    log = tmp_path / "agent.log"
    with log.open("wb") as out:
        process = subprocess.Popen(agent("run", "--config", config), stdout=out, stderr=out)
    try:
        with hub.client(admin=True) as client:
            arrived = False
            deadline = time.monotonic() + 60
            while not arrived and time.monotonic() < deadline:
                seen["processes"] += processes()
                arrived = "edge-1" in client.get("/v1/examples").text and "0.1.0" in client.get("/v1/nodes").text
                time.sleep(0.2)
            assert arrived, log.read_text()
            for path in ("/v1/nodes", "/v1/examples", "/metrics", "/readyz", f"/v1/nothing?token={QUERY}"):
                seen[f"hub {path[:14]}"] = client.get(path).text
            client.get("/v1/nodes", headers={"Authorization": f"Basic {token.read_text().strip()}"})
        own = {"Authorization": f"Bearer {API_TOKEN}"}
        for path in ("/v1/status", "/metrics", "/healthz", "/v1/model"):
            seen[f"agent {path}"] = httpx.get(f"http://127.0.0.1:{port}{path}", headers=own).text
        for command in (("doctor", "--json"), ("diagnostics", "--output", tmp_path / "a.tar.gz"), ("models", "list")):
            words = agent(*command, "--config", config)
            done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
            seen["processes"] += processes()
            seen[str(command[0])] = done.stdout + done.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    hub.stop()
    main(["nodes", "list", "--data-dir", str(folder)])
    seen["command line"] = "".join(capfd.readouterr())
    seen["hub's log"], seen["agent's log"] = hub.log.read_text(), log.read_text()
    seen["hub's database"] = b"".join(path.read_bytes() for path in folder.glob("hub.sqlite*")).decode("latin-1")
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            seen[f"archive {Path(member.name).name}"] = content.read().decode()
    assert "yard" in seen["agent's log"]
    assert "yard" in seen["archive agent.toml"]
    shown = [f"{secret} in {place}" for place, text in seen.items() for secret, word in secrets.items() if word in text]
    assert shown == []
    record_property("survive", f"item 9: {len(secrets)} planted secrets in none of {len(seen)} places")
