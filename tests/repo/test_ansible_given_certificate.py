# SPDX-License-Identifier: Apache-2.0
"""A certificate that cannot serve is refused on the controller, before the hub is touched."""

from __future__ import annotations

import datetime as dt
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))
PLUGINS = "ansible_collections.helmet.edge.plugins.plugin_utils"
rules: Any = importlib.import_module(f"{PLUGINS}.given_certificate")
NOW = dt.datetime(2027, 3, 1, tzinfo=dt.UTC)
HOST = "hub.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def issue(
    authority: trustme.CA, *names: str, until: dt.datetime | None = None, since: dt.datetime | None = None
) -> Any:
    issued = authority.issue_cert(*(names or (HOST,)), not_after=until, not_before=since)
    return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()


def found(certificate: bytes, key: bytes, authority: bytes, host: str = HOST, now: dt.datetime = NOW) -> list[str]:
    return list(rules.faults(certificate, key, authority, host, now))


@pytest.mark.parametrize(
    ("names", "host"),
    [
        ((HOST,), HOST),
        ((HOST,), "HUB.example."),
        (("*.example",), HOST),
        (("192.0.2.7",), "192.0.2.7"),
        (("2001:db8::7",), "2001:db8:0::7"),
        ((HOST,), ""),
    ],
)
def test_a_sound_one_is_let_through(authority: trustme.CA, names: tuple[str, ...], host: str) -> None:
    assert found(*issue(authority, *names), authority.cert_pem.bytes(), host) == []


def test_one_behind_another_authority_is_let_through(authority: trustme.CA) -> None:
    between = authority.create_child_ca()
    own, key = issue(between)
    assert found(own + between.cert_pem.bytes(), key, authority.cert_pem.bytes()) == []
    (finding,) = found(own, key, authority.cert_pem.bytes())
    assert "put certificates between the two behind" in finding


def test_the_key_of_another_certificate_is_told(authority: trustme.CA) -> None:
    own, _ = issue(authority)
    _, other = issue(authority)
    (finding,) = found(own, other, authority.cert_pem.bytes())
    assert "is not the key of helmet_hub_tls_certificate" in finding


def test_another_authority_is_told(authority: trustme.CA) -> None:
    (finding,) = found(*issue(authority), trustme.CA().cert_pem.bytes())
    assert "helmet_hub_tls_ca did not sign" in finding


@pytest.mark.parametrize(("host", "names"), [("other.example", (HOST,)), ("a.b.example", ("*.example",))])
def test_a_name_that_it_is_not_for_is_told(authority: trustme.CA, host: str, names: tuple[str, ...]) -> None:
    (finding,) = found(*issue(authority, *names), authority.cert_pem.bytes(), host)
    assert f"it is not for {host}" in finding
    (finding,) = found(*issue(authority, *names), authority.cert_pem.bytes(), "192.0.2.7")
    assert "it is not for 192.0.2.7" in finding


def test_one_that_is_over_or_not_yet_begun_is_told(authority: trustme.CA) -> None:
    day = dt.timedelta(days=1)
    ca = authority.cert_pem.bytes()
    (over,) = found(*issue(authority, since=NOW - 9 * day, until=NOW - day), ca)
    assert "it ended on 2027-02-28" in over
    (early,) = found(*issue(authority, since=NOW + day, until=NOW + 9 * day), ca)
    assert "it begins on 2027-03-02 only" in early


def test_what_is_no_certificate_or_key_is_told(authority: trustme.CA) -> None:
    own, key = issue(authority)
    ca = authority.cert_pem.bytes()
    assert found(b"no", key, ca) == ["helmet_hub_tls_certificate: expected certificates as PEM text"]
    assert found(own, key, b"no") == ["helmet_hub_tls_ca: expected certificates as PEM text"]
    assert found(own, b"no", ca) == ["helmet_hub_tls_key: expected a private key as PEM text"]


def test_a_key_with_a_pass_phrase_is_told_and_never_shown(authority: trustme.CA) -> None:
    own, key = issue(authority)
    private = serialization.load_pem_private_key(key, password=None)
    locked = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret-phrase"),
    )
    (finding,) = found(own, locked, authority.cert_pem.bytes())
    assert "it has a pass phrase" in finding
    assert "secret" not in finding


def test_a_key_in_a_vault_is_read_by_the_play_and_a_wrong_one_stops_it(authority: trustme.CA, tmp_path: Path) -> None:
    own, key = issue(authority, "192.0.2.20")
    _, other = issue(authority, "192.0.2.20")
    files = {"hub.crt": own, "hub.key": key, "ca.crt": authority.cert_pem.bytes(), "phrase": b"for-the-test\n"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    environment = {
        **os.environ,
        "ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "phrase"),
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    binaries = Path(sys.executable).parent

    def locked(content: bytes) -> None:
        (tmp_path / "hub.key").write_bytes(content)
        command = [binaries / "ansible-vault", "encrypt", tmp_path / "hub.key"]
        subprocess.run(command, check=True, env=environment, cwd=ROOT, capture_output=True)

    (tmp_path / "hosts.yml").write_text(f"""\
hubs:
  hosts:
    hub:
      ansible_connection: local
      helmet_hub_listen: 0.0.0.0:8443
      helmet_hub_public_url: https://192.0.2.20:8443
      helmet_hub_tls_certificate: {tmp_path}/hub.crt
      helmet_hub_tls_key: {tmp_path}/hub.key
      helmet_hub_tls_ca: {tmp_path}/ca.crt
""")
    (tmp_path / "play.yml").write_text("- hosts: hubs\n  gather_facts: false\n  roles: [validate_inventory]\n")
    command = [
        str(part)
        for part in (binaries / "ansible-playbook", "--inventory", tmp_path / "hosts.yml", tmp_path / "play.yml")
    ]
    environment |= {"ANSIBLE_ROLES_PATH": str(ROOT / "roles")}

    locked(key)
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    locked(other)
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert "is not the key of" in " ".join(ran.stdout.split())
    assert "PRIVATE" not in ran.stdout + ran.stderr
