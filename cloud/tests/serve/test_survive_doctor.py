# SPDX-License-Identifier: Apache-2.0
"""One fault of a hub at a time, injected for real, and what its doctor says to mend first."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from helmet_cloud.cli import main
from helmet_cloud.doctor import diagnose
from helmet_cloud.setup import InitOptions, initialise
from helmet_cloud.setup.tls import TlsFiles, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.survive
Note = Callable[[str, object], None]
YEAR = 365 * 86400.0


def setting(folder: Path, line: str) -> None:
    with (folder / "hub.toml").open("a") as file:
        file.write(f"\n{line}\n")


def sql(folder: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "hub.sqlite")) as connection:
        connection.execute(statement)
        connection.commit()


def another_certificate(folder: Path) -> None:
    setting(folder, 'public_url = "https://localhost:8443"')
    make_server(TlsFiles(folder / "tls"), ["other.example"], time.time())


def name_unknown(folder: Path) -> None:
    setting(folder, 'public_url = "https://hub.invalid"')
    make_server(TlsFiles(folder / "tls"), ["hub.invalid"], time.time())


def another_root(folder: Path) -> None:
    other = initialise(folder.parent / "other", InitOptions("127.0.0.1:0"), time.time).home
    (folder / "root.json").write_bytes((other.folder / "root.json").read_bytes())


def old_channel(folder: Path) -> None:
    old = initialise(folder.parent / "old", InitOptions("127.0.0.1:0"), lambda: time.time() - 4 * 86400).home
    for name in ("channel", "keys"):
        shutil.rmtree(folder / name)
        shutil.copytree(old.folder / name, folder / name)
    (folder / "root.json").write_bytes((old.folder / "root.json").read_bytes())


def damaged(folder: Path) -> None:
    content = bytearray((folder / "hub.sqlite").read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    (folder / "hub.sqlite").write_bytes(content)


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "settings": (lambda folder: setting(folder, "surprise = 1"), "config", "hub.toml: surprise: unknown"),
    "secret for others": (
        lambda folder: (folder / "tokens" / "admin.token").chmod(0o644),
        "permissions",
        "admin.token: others may read it; run `chmod 600",
    ),
    "database gone": (lambda folder: (folder / "hub.sqlite").unlink(), "database", "`helmet-cloud restore` a backup"),
    "database damaged": (damaged, "database", "`helmet-cloud restore` a backup"),
    "database of a newer release": (
        lambda folder: sql(folder, "UPDATE alembic_version SET version_num = '9999'"),
        "database",
        "made by a newer release; this one knows up to",
    ),
    "token revoked": (
        lambda folder: sql(folder, "UPDATE tokens SET revoked_seconds = 1"),
        "token",
        "it was revoked; remove it, `helmet-cloud init` makes another",
    ),
    "signing key gone": (
        lambda folder: (folder / "keys" / "timestamp.pem").unlink(),
        "keys",
        "the timestamp key is missing",
    ),
    "another hub's root": (another_root, "trust root", "no root of this channel, nodes would refuse it; copy"),
    "signatures expired": (old_channel, "channel", "the signatures of timestamp have expired, nodes take nothing new"),
    "certificate for another name": (another_certificate, "tls", "is for other.example, not for localhost"),
    "certificate without its key": (lambda folder: (folder / "tls" / "server.key").unlink(), "tls", "server.key"),
    "name unknown": (
        name_unknown,
        "hub dns",
        "enter it in the DNS or correct public_url",
    ),
}


def cause(folder: Path, now: float | None = None) -> tuple[str, str]:
    found = diagnose(folder, time.time() if now is None else now)
    assert found.cause is not None
    assert not found.ok, found.text()
    return found.cause.part, found.cause.text


@pytest.mark.parametrize("fault", FAULTS)
def test_the_doctor_names_the_cause(folder: Path, fault: str, record_property: Note) -> None:
    spoil, part, words = FAULTS[fault]
    spoil(folder)
    found = cause(folder)
    assert found[0] == part, found
    assert words in found[1], found
    record_property("survive", f"item 10: hub, {fault} -> {part}")


@pytest.mark.parametrize(("now", "day"), [(0.0, "1970-01-01"), (4_070_908_800.0, "2099-01-01")])
def test_a_clock_that_cannot_be_right_comes_before_all_that_it_spoils(
    folder: Path, now: float, day: str, record_property: Note
) -> None:
    part, words = cause(folder, now)
    assert part == "clock"
    assert f"it says {day}; set it: `timedatectl set-ntp true`" in words
    record_property("survive", f"item 10: hub, clock at {day[:4]} -> clock")


def test_a_hub_that_is_well_and_one_that_was_killed(
    folder: Path, serve: Any, capsys: Any, record_property: Note
) -> None:
    assert main(["doctor", "--data-dir", str(folder)]) == 0
    assert "does not run; start it" in capsys.readouterr().out
    hub = serve(folder)
    found = diagnose(folder, time.time())
    assert found.ok, found.text()
    assert found.cause is None, found.text()
    hub.stop(signal.SIGKILL)
    part, words = cause(folder)
    assert part == "hub"
    assert "nobody answers" in words
    assert "systemctl status helmet-hub" in words
    assert main(["doctor", "--data-dir", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["cause"]["part"] == "hub"
    record_property("survive", "item 10: hub, killed -> hub")


def test_an_address_that_is_taken(folder: Path, record_property: Note) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = folder / "hub.toml"
        settings.write_text(settings.read_text().replace('listen = "127.0.0.1:0"\n', f'listen = "{address}"\n', 1))
        part, words = cause(folder)
    assert part == "address"
    assert f"{address}: Address already in use" in words
    assert "ss -ltnp" in words
    record_property("survive", "item 10: hub, address taken -> address")


class Older(BaseHTTPRequestHandler):
    """A hub of another release that runs on."""

    def do_GET(self) -> None:
        body = b'{"gitVersion": "v0.0.1", "problems": {}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def older(folder: Path) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Older)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls" / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "address").write_text(json.dumps({"listen": f"127.0.0.1:{server.server_address[1]}"}))
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("older")
def test_a_release_that_runs_on_after_another_was_installed(folder: Path, record_property: Note) -> None:
    part, words = cause(folder)
    assert part == "release"
    assert "stale: the hub that runs is v0.0.1, installed is v" in words
    assert "restart the hub" in words
    record_property("survive", "item 10: hub, stale release -> release")


NAMESPACE = ("unshare", "--mount", "--map-root-user")


def mounts() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = (*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt")
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not mounts(), reason="needs mount namespaces (unshare --mount --map-root-user)")
@pytest.mark.parametrize(
    ("options", "after", "words"),
    [
        ("size=8m", "true", "MiB free; free some space, lower max_examples_bytes"),
        ("size=256m", "mount -o remount,ro {disk}", "is mounted read-only"),
        ("size=256m,nr_inodes=200", "true", "more files (inodes)"),
    ],
    ids=["full", "read-only", "no inodes"],
)
def test_the_doctor_names_the_disk(
    folder: Path, tmp_path: Path, options: str, after: str, words: str, *, record_property: Note
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    doctor = f"{sys.executable} -m helmet_cloud.cli doctor --data-dir {disk}/hub --json"
    script = (
        f"mount -t tmpfs -o {options} tmpfs {disk} && cp -r {folder} {disk} && {after.format(disk=disk)} && {doctor}"
    )
    done = subprocess.run((*NAMESPACE, "sh", "-c", script), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)["cause"]
    assert found["part"] == "disk", found
    assert words in found["text"]
    record_property("survive", f"item 10: hub, disk {options} -> disk")
