# SPDX-License-Identifier: Apache-2.0
"""One fault at a time, injected for real, and what the doctor says to mend first."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.memory_reader import MemoryReader
from helmet_agent.app.doctor import diagnose
from helmet_agent.testing import ManualClock

FRAMES = Path(__file__).resolve().parents[2] / "fixtures" / "frames" / "images"
NAMESPACE = ("unshare", "--mount", "--map-root-user")
GROUP_LIMIT = 128 << 20

pytestmark = pytest.mark.survive
Note = Callable[[str, object], None]


class Node:
    """A node that is well, with a hub of its own; each test spoils one thing."""

    def __init__(self, folder: Path, token: Path, authority: trustme.CA, server: Any) -> None:
        self.folder, self.token, self.server = folder, token, server
        self.data, self.ca, self.config = folder / "data", folder / "ca.pem", folder / "agent.toml"
        self.url, self.source, self.extra = server.url, str(FRAMES), ""
        self.sources, self.spool = True, "16Mi"
        self.data.mkdir()
        authority.cert_pem.write_to_path(self.ca)
        self.date()

    def date(self, **shift: float) -> None:
        """The hub answers as a hub does, at another time of day."""
        date = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(**shift), usegmt=True)
        refusal = self.server.answer(400, {"detail": "no picture"}, Date=date)
        self.server.always = self.server.fault(answer=refusal)

    def write(self) -> Path:
        sources = f"[[sources]]\nname='gate'\nurl='{self.source}'\n" if self.sources else ""
        self.config.write_text(
            f"[node]\nname='n1'\ndata_dir='{self.data}'\n{sources}"
            f"[hub]\nurl='{self.url}'\nca_file='{self.ca}'\ntoken_file='{self.token}'\n"
            f"[spool]\nquota='{self.spool}'\n[events]\nquota='1Mi'\nsnapshot_quota='1Mi'\n{self.extra}"
        )
        return self.config

    def cause(self, clock: Any = None) -> tuple[str, str]:
        """Part and text of what is to be mended first."""
        found = diagnose(self.write(), clock=clock)
        assert found.cause is not None, found.text()
        assert not found.ok
        assert found.text().splitlines()[-1] == f"mend first: {found.cause.part}: {found.cause.text}"
        return found.cause.part, found.cause.text

    def cause_elsewhere(self, code: int = 1, *, before: str = "true", prefix: tuple[str, ...] = ()) -> tuple[str, str]:
        """The same from a process of its own, after a shell's commands."""
        doctor = shlex.join((sys.executable, "-m", "helmet_agent", "doctor", "--config", str(self.write()), "--json"))
        words = [*prefix, "sh", "-c", f"{before} && {doctor}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        cause = json.loads(done.stdout)["cause"]
        return cause["part"], cause["text"]


@pytest.fixture
def node(tmp_path: Path, token_file: Path, authority: trustme.CA, new_server: Callable[..., Any]) -> Node:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return Node(tmp_path, token_file, authority, new_server(tls=context))


def clock_behind(node: Node) -> tuple[str, str]:
    node.date(hours=3)
    return node.cause()


def clock_never_set(node: Node) -> tuple[str, str]:
    return node.cause(ManualClock(0.0))


def secret_for_everybody(node: Node) -> tuple[str, str]:
    credentials = node.folder / "camera"
    credentials.write_text("user:password")
    credentials.chmod(0o644)
    node.extra = f"[[sources]]\nname='yard'\nurl='{FRAMES}'\ncredentials_file='{credentials}'\n"
    return node.cause()


def token_gone(node: Node) -> tuple[str, str]:
    node.token.unlink()
    return node.cause()


def token_revoked(node: Node) -> tuple[str, str]:
    node.token.write_text("hmt_" + "u" * 43)
    node.server.always = None
    return node.cause()


def name_unknown(node: Node) -> tuple[str, str]:
    node.url = "https://hub.invalid"
    return node.cause()


def hub_away(node: Node) -> tuple[str, str]:
    node.server.down()
    return node.cause()


def another_authority(node: Node) -> tuple[str, str]:
    trustme.CA().cert_pem.write_to_path(node.ca)
    return node.cause()


def authority_damaged(node: Node) -> tuple[str, str]:
    node.ca.write_text("nothing")
    return node.cause()


def camera_away(node: Node) -> tuple[str, str]:
    node.source = "rtsp://127.0.0.1:9/stream"
    return node.cause()


def model_damaged(node: Node) -> tuple[str, str]:
    folder = node.folder / "model"
    shutil.copytree(bundled_model_dir(), folder)
    content = bytearray((folder / "model.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.tflite").write_bytes(content)
    node.extra = f"[model]\npath='{folder}'\n"
    return node.cause()


def memory_limit(node: Node) -> tuple[str, str]:
    node.extra = "[memory]\nlimit='96Mi'\n"
    return node.cause()


def clock_far_ahead(node: Node) -> tuple[str, str]:
    return node.cause(ManualClock(4_070_908_800.0))


def secret_unreadable(node: Node) -> tuple[str, str]:
    credentials = node.folder / "camera"
    credentials.write_text("user:password")
    credentials.chmod(0o000)
    node.extra = f"[[sources]]\nname='yard'\nurl='{FRAMES}'\ncredentials_file='{credentials}'\n"
    return node.cause_elsewhere(prefix=without_root())


def folder_closed(node: Node) -> tuple[str, str]:
    node.data.chmod(0o500)
    try:
        return node.cause_elsewhere(prefix=without_root())
    finally:
        node.data.chmod(0o700)


def folder_a_file(node: Node) -> tuple[str, str]:
    node.data.rmdir()
    node.data.write_text("in the folder's place")
    return node.cause()


def authority_of_none(node: Node) -> tuple[str, str]:
    trustme.CA().issue_cert("localhost").cert_chain_pems[0].write_to_path(node.ca)
    return node.cause()


def authority_expired(node: Node) -> tuple[str, str]:
    write_authority(node.ca, -12.2)
    return node.cause()


def no_hub_there(node: Node) -> tuple[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        node.url = f"https://localhost:{plain.getsockname()[1]}"

        def answer() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.sendall(b"220 mail.example ready\r\n")
                connection.recv(4096)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        found = node.cause()
        thread.join(10.0)
        return found


def no_camera(node: Node) -> tuple[str, str]:
    node.sources = False
    return node.cause()


def settings_wrong(node: Node) -> tuple[str, str]:
    node.extra = "[surprise]\nkey=1\n"
    return node.cause()


def without_root() -> tuple[str, ...]:
    """Root may read and write everywhere, but for capabilities that it can do without."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def write_authority(path: Path, days: float) -> None:
    """The certificate of an authority that ends in so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=400))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(Encoding.PEM))


FAULTS: dict[str, tuple[Callable[[Node], tuple[str, str]], str, str]] = {
    "clock behind": (clock_behind, "clock", "differs from the hub's by -1"),
    "clock never set": (clock_never_set, "clock", "it says 1970-01-01; set it: `timedatectl set-ntp true`"),
    "secret for everybody": (secret_for_everybody, "permissions", "every user of this machine may read it; run `chmod"),
    "token gone": (token_gone, "token", "helmet-agent enrol"),
    "token revoked": (token_revoked, "hub auth", "helmet-cloud nodes add"),
    "name unknown": (name_unknown, "hub dns", "hub.invalid: no address is known"),
    "hub away": (hub_away, "hub connect", "is the hub up, does a firewall let this node through?"),
    "another authority": (another_authority, "hub tls", "the certificate is not accepted"),
    "authority damaged": (authority_damaged, "ca", "copy it from the hub again"),
    "camera away": (camera_away, "source gate", "check address, credentials and that the camera is on"),
    "model damaged": (model_damaged, "model", "not the one in its manifest"),
    "clock far ahead": (clock_far_ahead, "clock", "it says 2099-01-01; set it"),
    "secret unreadable": (secret_unreadable, "permissions", "camera: cannot be read by"),
    "folder closed": (
        folder_closed,
        "permissions",
        "may not write there; run the doctor as the agent's user, or chown",
    ),
    "folder a file": (folder_a_file, "permissions", "is no folder; correct the path in the configuration"),
    "authority of none": (authority_of_none, "ca", "holds no certificate of an authority; copy it from the hub again"),
    "authority expired": (authority_expired, "ca", "expired 12 days ago; copy the hub's present one"),
    "no hub there": (no_hub_there, "hub tls", "is it the hub that listens there?"),
    "no camera": (no_camera, "sources", "none; give at least one [[sources]] table"),
    "settings wrong": (settings_wrong, "config", "surprise"),
    "memory limit": (memory_limit, "memory", "raise memory.limit in the configuration to"),
}


def test_a_node_that_is_well_has_nothing_to_mend(node: Node) -> None:
    found = diagnose(node.write())
    assert found.ok, found.text()
    assert found.cause is None, found.text()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_doctor_names_the_cause(node: Node, fault: str, record_property: Note) -> None:
    inject, part, words = FAULTS[fault]
    started = time.monotonic()
    found = inject(node)
    assert found[0] == part, found
    assert words in found[1], found
    record_property("survive", f"item 10: {fault} -> {part}, {time.monotonic() - started:.1f} s")


def test_what_spoils_others_is_mended_first_wherever_it_is_found(node: Node, record_property: Note) -> None:
    node.token.unlink()
    found = diagnose(node.write(), clock=ManualClock(0.0))
    assert [one.part for one in found.findings if one.state == "failed"] == ["token", "hub auth", "clock"], found.text()
    assert found.cause is not None
    assert found.cause.part == "clock"
    record_property("survive", "item 10: token gone and a clock never set -> clock")


def test_an_authority_that_ends_soon_is_a_warning(node: Node, record_property: Note) -> None:
    write_authority(node.ca, 20.2)
    found = {one.part: one for one in diagnose(node.write()).findings}["ca"]
    assert (found.state, "expires in 20 days; plan to renew it" in found.text) == ("warning", True), found
    record_property("survive", "item 10: authority ends soon -> ca")


def test_memory_that_is_nearly_used_up_is_a_warning(node: Node, record_property: Note) -> None:
    node.extra = "[memory]\nlimit='2Gi'\nsoft_fraction=0.1\nhard_fraction=0.9\n"
    ballast = b"x" * (256 << 20)
    found = {one.part: one for one in diagnose(node.write()).findings}["memory"]
    assert ballast
    assert (found.state, "of it is used; the agent will shed work" in found.text) == ("warning", True), found
    record_property("survive", "item 10: memory nearly used up -> memory")


def mounts() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = (*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt")
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not mounts(), reason="needs mount namespaces (unshare --mount --map-root-user)")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-o size=1m", "1.0 MiB free, the quotas may take 18.0 MiB more; free some space"),
        ("-o ro", "is mounted read-only"),
        ("-o size=256m,nr_inodes=50", "more files, of 50 (inodes); remove small files"),
    ],
    ids=["full", "read-only", "no inodes"],
)
def test_the_doctor_names_the_disk(node: Node, options: str, words: str, record_property: Note) -> None:
    part, text = node.cause_elsewhere(before=f"mount -t tmpfs {options} tmpfs {node.data}", prefix=NAMESPACE)
    assert part == "disk", text
    assert words in text
    record_property("survive", f"item 10: disk {options} -> disk")


@pytest.mark.skipif(not mounts(), reason="needs mount namespaces (unshare --mount --map-root-user)")
def test_a_disk_smaller_than_the_quotas_is_a_warning(node: Node, record_property: Note) -> None:
    node.spool = "1Gi"
    part, text = node.cause_elsewhere(0, before=f"mount -t tmpfs -o size=100m tmpfs {node.data}", prefix=NAMESPACE)
    assert part == "disk", text
    assert "free some space or lower spool.quota and events.snapshot_quota" in text
    record_property("survive", "item 10: disk smaller than the quotas -> disk")


@pytest.fixture
def small_group() -> Iterator[Path]:
    own = MemoryReader().read().groups
    parent = own[0].path if own else Path("/sys/fs/cgroup")
    group = parent / f"helmet-doctor-test-{os.getpid()}"
    try:
        group.mkdir()
        first = next(name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists())
        (group / first).write_text(str(GROUP_LIMIT))
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


def test_the_doctor_names_the_control_group(node: Node, small_group: Path, record_property: Note) -> None:
    part, text = node.cause_elsewhere(before=f"echo $$ > {small_group}/cgroup.procs")
    assert part == "cgroup", text
    assert str(small_group) in text
    assert "MemoryMax=" in text
    record_property("survive", "item 10: control group -> cgroup")
