# SPDX-License-Identifier: Apache-2.0
"""One fault of a hub at a time, injected for real, and what its doctor says to mend first."""

from __future__ import annotations

import contextlib
import json
import os
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import helmet_cloud
from helmet_agent.adapters.memory_reader import MemoryReader
from helmet_cloud.cli import main
from helmet_cloud.doctor import diagnose
from helmet_cloud.setup import InitOptions, initialise
from helmet_cloud.setup.tls import SERVER_DAYS, TlsFiles, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.survive
Note = Callable[[str, object], None]
DAY = 86400.0


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


def expired(folder: Path) -> None:
    make_server(TlsFiles(folder / "tls"), ["localhost"], time.time() - (SERVER_DAYS + 10.0) * DAY)


def odd_row(folder: Path) -> None:
    """Damage that only a look at every row finds."""
    with contextlib.closing(sqlite3.connect(folder / "hub.sqlite")) as connection:
        connection.executescript("CREATE TABLE odd(x); INSERT INTO odd VALUES (NULL); PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE odd(x NOT NULL)' WHERE name = 'odd'")
        connection.commit()


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "settings": (lambda folder: setting(folder, "surprise = 1"), "config", "hub.toml: surprise: unknown"),
    "secret for others": (
        lambda folder: (folder / "tokens" / "admin.token").chmod(0o644),
        "permissions",
        "admin.token: others may read it; run `chmod 600",
    ),
    "database gone": (
        lambda folder: (folder / "hub.sqlite").unlink(),
        "database",
        "hub.sqlite: is not there; stop the hub and `helmet-cloud restore` a backup, or",
    ),
    "database damaged": (damaged, "database", "`helmet-cloud restore` a backup"),
    "database with an odd row": (odd_row, "database", "damaged: NULL value in odd.x; stop the hub"),
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
    "token gone": (
        lambda folder: (folder / "tokens" / "admin.token").unlink(),
        "token",
        "No such file or directory; `",
    ),
    "token damaged": (
        lambda folder: (folder / "tokens" / "admin.token").write_text("hmt_short"),
        "token",
        "holds no token; remove it, `helmet-cloud init` makes another",
    ),
    "root for nodes gone": (
        lambda folder: (folder / "root.json").unlink(),
        "trust root",
        "No such file or directory; copy",
    ),
    "certificate expired": (expired, "tls", "expired 10 days ago; restart the hub, or give another"),
    "address that is none": (
        lambda folder: (folder / "address").write_text('{"listen": "somewhere"}'),
        "hub",
        "could not be looked at: ValueError",
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


def test_a_certificate_that_ends_soon_is_a_warning(folder: Path, record_property: Note) -> None:
    make_server(TlsFiles(folder / "tls"), ["localhost"], time.time() - (SERVER_DAYS - 20.5) * DAY)
    found = diagnose(folder, time.time())
    assert found.ok, found.text()
    assert found.cause is not None
    assert (found.cause.part, found.cause.state) == ("tls", "warning")
    assert "expires in 20 days; restart the hub" in found.cause.text
    record_property("survive", "item 10: hub, certificate ends soon -> tls")


class Other(BaseHTTPRequestHandler):
    """Something that runs where the hub should, and what it says."""

    body = b""

    def do_GET(self) -> None:
        body = self.body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def instead(folder: Path) -> Iterator[Callable[[str], None]]:
    """Serves this where the hub should be."""
    server = HTTPServer(("127.0.0.1", 0), Other)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls" / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "address").write_text(json.dumps({"listen": f"127.0.0.1:{server.server_address[1]}"}))

    def say(body: str) -> None:
        Other.body = body.encode()

    yield say
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("body", "part", "words"),
    [
        (
            '{"gitVersion": "v0.0.1", "problems": {}}',
            "release",
            "stale: the hub that runs is v0.0.1, installed is v{version}; restart the hub",
        ),
        ("<html></html>", "hub", "somebody else answers there, no hub; change listen in hub.toml"),
        (
            '{"gitVersion": "v{version}", "problems": {"database": "is locked"}}',
            "hub",
            "database: is locked",
        ),
    ],
    ids=["stale release", "somebody else", "a part that does not work"],
)
def test_what_runs_is_not_what_should(
    folder: Path, instead: Callable[[str], None], body: str, part: str, words: str, *, record_property: Note
) -> None:
    instead(body.replace("{version}", helmet_cloud.__version__))
    found = cause(folder)
    assert found[0] == part, found
    assert words.replace("{version}", helmet_cloud.__version__) in found[1], found
    record_property("survive", f"item 10: hub, {words[:20]} -> {part}")


def test_a_folder_that_may_not_be_written(folder: Path, record_property: Note) -> None:
    # Root may write everywhere, but for a capability that it can do without.
    without = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    if without and shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    folder.chmod(0o500)
    try:
        part, words = elsewhere(folder, *without)
    finally:
        folder.chmod(0o700)
    assert part == "permissions"
    assert "may not be written; run the doctor as the hub's user" in words
    record_property("survive", "item 10: hub, folder may not be written -> permissions")


def elsewhere(folder: Path, *before: str) -> tuple[str, str]:
    """The cause that a doctor in a process of its own names."""
    words = [*before, sys.executable, "-m", "helmet_cloud.cli", "doctor", "--data-dir", str(folder), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)["cause"]
    return found["part"], found["text"]


@pytest.fixture
def small_group() -> Iterator[Path]:
    own = MemoryReader().read().groups
    group = (own[0].path if own else Path("/sys/fs/cgroup")) / f"helmet-hub-doctor-test-{os.getpid()}"
    try:
        group.mkdir()
        first = next(name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists())
        (group / first).write_text(str(200 << 20))
    except (OSError, StopIteration) as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group with a memory limit can be made here: {error!r}")
    yield group
    for _ in range(100):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            break


def test_a_control_group_that_is_too_small(folder: Path, small_group: Path, record_property: Note) -> None:
    join = ("sh", "-c", f'echo $$ > {small_group}/cgroup.procs && exec "$@"', "sh")
    part, words = elsewhere(folder, *join)
    assert part == "cgroup", words
    assert f"{small_group} allows 200 MiB; raise the unit's MemoryMax= to 256" in words
    record_property("survive", "item 10: hub, control group -> cgroup")


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
        ("size=512m", "true", "MiB free; free some space before nodes are refused"),
    ],
    ids=["full", "read-only", "no inodes", "nearly full"],
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
    assert done.returncode == (0 if "before nodes" in words else 1), done.stdout + done.stderr
    found = json.loads(done.stdout)["cause"]
    assert found["part"] == "disk", found
    assert words in found["text"]
    record_property("survive", f"item 10: hub, disk {options} -> disk")
