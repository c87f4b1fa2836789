# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import stat
import time
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from helmet_agent.errors import UsageError
from helmet_cloud.cli import main
from helmet_cloud.settings import HubHome, HubSettings
from helmet_cloud.setup import InitOptions, initialise
from helmet_cloud.setup.hub_file import ABOUT, hub_file
from helmet_cloud.setup.steps import public_url
from helmet_cloud.setup.tls import TlsFiles
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.tokens import find, token_digest

if TYPE_CHECKING:
    from pathlib import Path

Captured = pytest.CaptureFixture[str]


def _contents(folder: Path) -> dict[str, bytes]:
    """Everything but SQLite's own files, which opening touches."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("hub.sqlite")
    }


def test_it_says_what_to_do_next(tmp_path: Path, capsys: Captured) -> None:
    assert main(["init", str(tmp_path / "hub")]) == 0
    said = capsys.readouterr().out
    for words in ("serve --data-dir", "KUBECONFIG=", "root.json", "offline-keys", "https://127.0.0.1:8443"):
        assert words in said


def test_a_second_run_changes_nothing(folder: Path, capsys: Captured) -> None:
    before = _contents(folder)
    assert main(["init", str(folder)]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert _contents(folder) == before


def test_an_interrupted_run_is_finished_by_the_next(tmp_path: Path) -> None:
    asked = 0

    def breaking(stop: int) -> float:
        # Every step asks for the time; the clock breaks at one question, as a power cut would.
        nonlocal asked
        asked += 1
        if asked == stop:
            raise KeyboardInterrupt
        return time.time()

    initialise(tmp_path / "whole", InitOptions("127.0.0.1:0"), lambda: breaking(0))
    questions = asked
    assert questions >= 7
    for stop in range(1, questions + 1):
        asked = 0
        folder = tmp_path / f"hub-{stop}"
        with pytest.raises(KeyboardInterrupt):
            initialise(folder, InitOptions("127.0.0.1:0"), partial(breaking, stop))
        report = initialise(folder, InitOptions("127.0.0.1:0"), time.time)
        assert report.home.settings.listen == "127.0.0.1:0"
        token = (folder / "tokens" / "admin.token").read_text().strip()
        assert yaml.safe_load(report.home.kubeconfig.read_text())["users"][0]["user"]["token"] == token
        assert (folder / "root.json").read_bytes() == (folder / "channel/metadata/1.root.json").read_bytes()


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    initialise(fresh, InitOptions(), time.time)
    secret = ["hub.toml", "kubeconfig", "tokens/admin.token", "tls/ca.key", "tls/server.key", "offline-keys/root.pem"]
    secret += [f"keys/{role}.pem" for role in ("targets", "snapshot", "timestamp")]
    assert {name: stat.S_IMODE((fresh / name).stat().st_mode) for name in secret} == dict.fromkeys(secret, 0o600)
    folders = ["", "keys", "offline-keys", "tls", "tokens"]
    assert {name: stat.S_IMODE((fresh / name).stat().st_mode) for name in folders} == dict.fromkeys(folders, 0o700)


def test_the_token_is_known_by_its_digest_with_scope_admin(folder: Path) -> None:
    token = (folder / "tokens" / "admin.token").read_text().strip()
    database = open_database(HubHome.load(folder))
    with database.read() as session:
        found = find(session, token_digest(token))
    database.close()
    assert found is not None
    assert (found.name, found.scopes, found.revoked) == ("admin", {"admin"}, False)
    assert token.encode() not in (folder / "hub.sqlite").read_bytes()


def test_the_certificate_is_for_every_name_and_of_a_kind_that_all_clients_take(tmp_path: Path) -> None:
    options = InitOptions("192.0.2.7:8443", "https://hub.example:8443", ("hub.local", "2001:db8::1"))
    folder = tmp_path / "hub"
    initialise(folder, options, time.time)
    files = TlsFiles(folder / "tls")
    wanted = {"localhost", "127.0.0.1", "::1", "192.0.2.7", "hub.example", "hub.local", "2001:db8::1"}
    assert wanted <= set(files.names())
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(files.ca.read_bytes()))


def test_the_kubeconfig_holds_server_authority_and_token(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    initialise(folder, InitOptions(public_url="https://hub.example:8443"), time.time)
    document = yaml.safe_load((folder / "kubeconfig").read_text())
    cluster = document["clusters"][0]["cluster"]
    assert cluster["server"] == "https://hub.example:8443"
    assert base64.b64decode(cluster["certificate-authority-data"]) == (folder / "tls" / "ca.crt").read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "0.0.0.0:1"], "listen"),
        (["--public-url", "https://other.example"], "public_url"),
        (["--rootfs", "/elsewhere"], "rootfs"),
        (["--hostname", "stranger.example"], "stranger.example"),
    ],
)
def test_it_never_replaces_what_is_there(options: list[str], words: str, folder: Path, capsys: Captured) -> None:
    before = _contents(folder)
    assert main(["init", str(folder), *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert _contents(folder) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.doc"):
        initialise(tmp_path, InitOptions(), time.time)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize(
    "options",
    [["--listen", "nonsense"], ["--listen", "host:70000"], ["--public-url", "http://x"], ["--public-url", "https://"]],
)
def test_what_cannot_be_right_is_refused_in_one_line(options: list[str], tmp_path: Path, capsys: Captured) -> None:
    assert main(["init", str(tmp_path / "hub"), *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "hub").exists()


def test_the_settings_file_names_every_key_with_its_default(tmp_path: Path) -> None:
    names = {one.name for one in fields(HubSettings)}
    assert set(ABOUT) == names
    text = hub_file({}).decode()
    (tmp_path / "hub.toml").write_text(text)
    assert HubHome.load(tmp_path).settings == HubSettings()
    optional = {one.name for one in fields(HubSettings) if one.default is None}
    uncommented = "\n".join(
        line[2:] if line.startswith("# ") and line[2:].split(" = ")[0] in names - optional else line
        for line in text.splitlines()
    )
    (tmp_path / "hub.toml").write_text(uncommented)
    assert HubHome.load(tmp_path).settings == HubSettings()


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (HubSettings(), "https://127.0.0.1:8443"),
        (HubSettings(listen="[::1]:9"), "https://[::1]:9"),
        (HubSettings(public_url="https://hub.example/"), "https://hub.example"),
    ],
)
def test_the_url_is_made_from_the_settings(settings: HubSettings, url: str) -> None:
    assert public_url(settings) == url
