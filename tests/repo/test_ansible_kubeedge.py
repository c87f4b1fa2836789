# SPDX-License-Identifier: Apache-2.0
"""What a machine is to a KubeEdge cloud, what a token and a journal tell, and edgecore.yaml by its keys.

molecule/kubeedge_node tries them on a host.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))
PLUGINS = "ansible_collections.helmet.edge.plugins"
state: Any = importlib.import_module(f"{PLUGINS}.module_utils.edgecore_state")
journal: Any = importlib.import_module(f"{PLUGINS}.module_utils.edgecore_journal")
config: Any = importlib.import_module(f"{PLUGINS}.plugin_utils.edgecore_config")
token: Any = importlib.import_module(f"{PLUGINS}.plugin_utils.edgecore_token")
rules: Any = importlib.import_module(f"{PLUGINS}.plugin_utils.kubeedge_rules")

NOW = 1_790_000_000.0
HASH = "ab" * 32
WANTED = state.Wanted("gate", "192.0.2.30:10000", "https://192.0.2.30:10002", HASH)
CERTIFICATE = state.Certificate(node="gate", authority_sha256=HASH, problem="", expires=NOW + 1)
CONFIG = {
    "edgecoreVersion": "v1.23.1",
    "modules": {
        "edgeHub": {"token": "", "httpServer": WANTED.http_server, "websocket": {"server": WANTED.websocket}},
    },
}
JOINED = state.Found(
    leftovers=("/etc/kubeedge",),
    config=CONFIG,
    certificate=CERTIFICATE,
    bootstrap=False,
    enabled=True,
    active=True,
    version="v1.23.1",
)


def part(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def made(expires: float | None = NOW + 60, authority: str = HASH) -> str:
    claims = {} if expires is None else {"exp": expires}
    return f"{authority}.{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


def hub(**values: Any) -> dict[str, Any]:
    return {**CONFIG, "modules": {"edgeHub": {**CONFIG["modules"]["edgeHub"], **values}}}  # type: ignore[index]


def test_a_machine_without_anything_is_clean_even_with_the_program() -> None:
    nothing = state.Found((), {}, None, bootstrap=False, enabled=False, active=False, version="v1.23.1")
    assert state.judge(nothing, WANTED, NOW) == state.State("clean", (), certified=False)


def test_what_is_as_asked_is_joined() -> None:
    assert state.judge(JOINED, WANTED, NOW) == state.State("joined", (), certified=True)
    # Without a token at hand nothing is known of the cloud's authority.
    assert state.judge(JOINED, replace(WANTED, authority_sha256=""), NOW).name == "joined"


@pytest.mark.parametrize(
    ("change", "reason", "certified"),
    [
        ({"certificate": None}, "no certificate", False),
        ({"certificate": replace(CERTIFICATE, expires=NOW)}, "has expired", False),
        ({"certificate": replace(CERTIFICATE, problem="server.key: no such file")}, "server.key", False),
        ({"bootstrap": True}, "the file with the token", True),
        ({"config": {}}, "no edgecore.yaml", True),
        ({"config": hub(token="a.b.c.d")}, "holds a token", True),  # noqa: S106 - no real one
        ({"config": {**CONFIG, "edgecoreVersion": "v1.22.0"}}, "is for v1.22.0", True),
        ({"enabled": False}, "at boot", True),
        ({"active": False}, "does not run", True),
        ({"version": ""}, "no program", True),
    ],
)
def test_half_a_join_is_told_apart_with_its_reason(change: dict[str, Any], reason: str, certified: bool) -> None:
    found = state.judge(replace(JOINED, **change), WANTED, NOW)
    assert found.name == "partial"
    assert found.certified is certified
    assert [text for text in found.reasons if reason in text] == list(found.reasons)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"certificate": replace(CERTIFICATE, node="hall")}, "for the node hall"),
        ({"certificate": replace(CERTIFICATE, authority_sha256="cd" * 32)}, "its authority is cdcd"),
        ({"config": hub(httpServer="https://198.51.100.1:10002")}, "https://198.51.100.1:10002 as httpServer"),
        ({"config": hub(websocket={"server": "198.51.100.1:10000"})}, "198.51.100.1:10000 as websocket.server"),
    ],
)
def test_a_machine_of_another_cloud_is_told_apart(change: dict[str, Any], reason: str) -> None:
    found = state.judge(replace(JOINED, **change), WANTED, NOW)
    assert found.name == "elsewhere"
    assert reason in " ".join(found.reasons)


def test_whom_nobody_let_in_belongs_to_nobody() -> None:
    begun = replace(JOINED, config=hub(httpServer="https://198.51.100.1:10002"), certificate=None)
    assert state.judge(begun, WANTED, NOW).name == "partial"


def test_a_good_token_tells_its_authority_and_has_no_problem() -> None:
    assert token.read(made()) == token.Token(HASH, NOW + 60)
    assert token.problems(made() + "\n", NOW) == []
    assert token.problems(made(None), NOW) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty"),
        ("secret", "found 1"),
        (made().partition(".")[2], "found 3"),
        (f"{HASH}.a.!!.c", "four parts"),
        (f"{HASH}.eyJ.bm90LWpzb24.c2ln", "no claims of a JWT"),
        (made(NOW - 120), "expired 2 minutes ago"),
    ],
)
def test_a_bad_token_is_told_before_it_is_used(text: str, says: str) -> None:
    (problem,) = token.problems(text, NOW)
    assert says in problem
    assert "secret" not in problem


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader_of_tokens(text: str) -> None:
    assert all(len(text) < 9 or text not in problem for problem in token.problems(text, NOW))


HEAD = "panic: failed to apply the edge certs, err: "
REFUSED = "failed to get edge certificate from the cloudcore, error: failed to call http, code: 401, message: "
LINES = [
    'I1126 server.go:1] Version: version.Info{GitVersion:"v1.23.1"}',
    f"{HEAD}{REFUSED}token validation failure, err: Token is expired",
    "goroutine 1 [running]:",
]


@pytest.mark.parametrize(
    ("line", "advice", "final"),
    [
        (LINES[1], "get a new one", True),
        (LINES[1].replace("Token is expired", "signature is invalid"), "does not know this token", True),
        (f"{HEAD}failed to validate CA certificate. tokenCAhash: a, CAhash: b", "another cloud's", True),
        (
            f'{HEAD}failed to get CA certificate, err: Get "https://x": dial tcp: connection refused',
            "does not answer",
            False,
        ),
        ("x509: certificate is valid for 192.0.2.1, not 192.0.2.30", "advertiseAddress", True),
        ("kubelet should not be running on edge node when starting edgecore", "disable kubelet", True),
        ("system validation failed - Following Cgroup subsystem not mounted: [memory]", "limit memory", True),
        ("unknown service runtime.v1.ImageService", "CRI", True),
        ('expected cgroupsPath to be of format "slice:prefix:name"', "cgroup driver", True),
        ("F1126 server.go:2] Start edged failed, err: x", "kubelet does not start", True),
    ],
)
def test_the_decisive_line_is_found_among_others(line: str, advice: str, final: bool) -> None:
    found = journal.decisive([LINES[0], line, LINES[2], "E1126 later.go:1] websocket connect failed: x"])
    assert found.line == line
    assert advice in found.advice
    assert found.final is final


def test_a_quiet_journal_tells_nothing() -> None:
    assert journal.decisive([LINES[0]]) is None


@given(st.text("abcdefXYZ019-_. ", min_size=8, max_size=80).filter(lambda text: len(text.strip()) > 7))
def test_a_token_that_edgecore_prints_is_never_repeated(secret: str) -> None:
    line = f"{HEAD}token {secret} credentials are in the wrong format"
    for known in ([secret], []):
        found = journal.decisive([line], known)
        assert found.final
        assert secret.strip() not in found.line


@given(st.integers(0, 2**31))
def test_what_looks_like_a_token_is_hidden_wherever_it_stands(expires: int) -> None:
    text = made(float(expires))
    assert journal.redacted(f"a {text} b") == "a *** b"
    assert text.rpartition(".")[2] not in journal.redacted(f"half of it: {text[70:]}", [text])


ASKED = {
    "edgecoreVersion": "v1.23.1",
    "modules": {"edgeHub": {"token": "", "heartbeat": 15}, "edged": {"nodeLabels": {"a": "b"}}},
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc", max_size=3),
    lambda deeper: (
        st.lists(deeper, max_size=2) | st.dictionaries(st.text("abc", min_size=1, max_size=2), deeper, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.text("abc", min_size=1, max_size=2), VALUES, max_size=4)


@given(DOCUMENTS, DOCUMENTS)
def test_what_was_asked_for_is_there_settles_and_survives_being_written_anew(present: Any, wanted: Any) -> None:
    text = config.brought_to(yaml.safe_dump(present), wanted)
    assert config.merged(config.parsed(text), wanted) == config.parsed(text)
    expanded = yaml.safe_dump({"zz": {"default": 1}, **config.parsed(text)}, sort_keys=True, indent=8)
    assert config.brought_to(expanded, wanted) == expanded
    assert config.differences(expanded, wanted) == []


def test_what_edgecore_added_stays_and_labels_are_taken_as_a_whole() -> None:
    present = {"modules": {"edged": {"nodeLabels": {"old": "x"}, "nodeIP": "192.0.2.1"}}}
    after = config.parsed(config.brought_to(yaml.safe_dump(present), ASKED))
    assert after["modules"]["edged"] == {"nodeLabels": {"a": "b"}, "nodeIP": "192.0.2.1"}


def test_a_token_in_the_file_is_blanked_and_not_shown() -> None:
    present = yaml.safe_dump({"modules": {"edgeHub": {"token": "very-secret"}}})
    assert config.parsed(config.brought_to(present, ASKED))["modules"]["edgeHub"]["token"] == ""
    assert ("modules.edgeHub.token", "***", "") in config.differences(present, ASKED)
    whole = config.differences(present, {"modules": "none"})
    assert "very-secret" not in str(whole)
    assert whole[0][0] == "modules"


def test_no_verbosity_shows_a_token_that_the_file_on_the_node_holds(tmp_path: Path) -> None:
    # Ansible's own ssh connection, on the way to this machine.
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o700)
    there = tmp_path / "edgecore.yaml"
    there.write_text(yaml.safe_dump({"modules": {"edgeHub": {"token": "very-secret", "projectID": "seen"}}}))
    reach = {
        "ansible_connection": "ssh",
        "ansible_ssh_executable": str(ssh),
        "ansible_ssh_transfer_method": "piped",
        "ansible_python_interpreter": sys.executable,
        "ansible_remote_tmp": str(tmp_path / "remote"),
    }
    words = ["node", "--inventory", "node,", "--module-name", "helmet.edge.edgecore_config", "--diff", "-vvvv"]
    arguments = json.dumps({"dest": str(there), "settings": ASKED, "mode": "0600"})
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible"), *words, "--args", arguments, "--extra-vars", json.dumps(reach)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert config.parsed(there.read_text())["modules"]["edgeHub"].items() >= {"token": "", "projectID": "seen"}.items()
    assert "modules.edgeHub.token: ***" in done.stdout
    said = done.stdout + done.stderr
    encoded = [base64.b64encode(b"x" * before + b"very-secret")[2 + before :][:10].decode() for before in range(3)]
    assert "SSH: EXEC" in said
    assert not [form for form in ("very-secret", *encoded) if form in said]


@pytest.mark.parametrize("text", ["", "- a list", "a: [", "just words"])
def test_a_file_that_cannot_be_read_is_written_anew(text: str) -> None:
    assert config.parsed(config.brought_to(text, ASKED)) == ASKED


def test_a_sound_node_is_let_through() -> None:
    sound = {
        "kubeedge_node_cloud_host": "192.0.2.30",
        "kubeedge_node_name": "gate-1",
        "kubeedge_node_token": made(),
        "kubeedge_node_version": "v1.24.0",
        "kubeedge_node_archive": "https://example.invalid/k.tar.gz",
        "kubeedge_node_archive_sha512": {"amd64": "0" * 128},
        "kubeedge_node_settings": {"modules": {"eventBus": {"enable": False}}},
    }
    assert list(rules.node(sound)) == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kubeedge_node_cloud_host": "https://192.0.2.30"}, "an address alone"),
        ({"kubeedge_node_cloud_host": "192.0.2.30:10000"}, "an address alone"),
        ({"kubeedge_node_name": "Gate_1"}, "no name of a node"),
        ({"kubeedge_node_token": "abc"}, "four parts"),
        ({"kubeedge_node_version": "latest"}, "a release such as"),
        ({"kubeedge_node_version": "v1.23.0"}, "CVE-2026-62371"),
        ({"kubeedge_node_version": "v1.20.9"}, "CVE-2026-62371"),
        ({"kubeedge_node_archive": "/nowhere.tar.gz"}, "not on the controller"),
        ({"kubeedge_node_archive_sha512": {"amd64": "12"}}, "no SHA-512"),
        ({"kubeedge_node_pause_archive": "/etc/passwd"}, "kubeedge_node_pause_digest"),
        ({"kubeedge_node_kubeconfig": "/nowhere"}, "not on the controller"),
        ({"kubeedge_node_settings": {"modules": {"edgeHub": {"token": "x"}}}}, "a variable of its own"),
        ({"kubeedge_node_settings": {"modules": {"edgeHub": {"tlsCaFile": "/x"}}}}, "the role has to find it"),
    ],
)
def test_a_contradiction_is_told_once(values: dict[str, Any], says: str) -> None:
    (finding,) = rules.node(values)
    assert says in finding
    assert next(iter(values)) in finding
