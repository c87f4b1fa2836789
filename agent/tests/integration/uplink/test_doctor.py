# SPDX-License-Identifier: Apache-2.0
"""The doctor against real sockets, certificates and files, well and ill."""

from __future__ import annotations

import datetime as dt
import json
import ssl
from collections.abc import Callable
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from helmet_agent.cli import main

Make = Callable[..., Any]
FRAMES = Path(__file__).resolve().parents[2] / "fixtures" / "frames" / "images"


@pytest.fixture
def examine(
    tmp_path: Path, token_file: Path, authority: trustme.CA, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, tuple[str, str]]]]:
    """Runs the doctor; exit code and (state, text) by part."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)

    def run(url: str, *options: str, extra: str = "", source: Path = FRAMES) -> tuple[int, dict[str, tuple[str, str]]]:
        config = tmp_path / "agent.toml"
        config.write_text(
            f"[node]\nname='n1'\ndata_dir='{tmp_path / 'data'}'\n[[sources]]\nname='stills'\nurl='{source}'\n"
            f"[hub]\nurl='{url}'\nca_file='{ca_file}'\ntoken_file='{token_file}'\n{extra}"
        )
        code = main(["doctor", "--config", str(config), "--json", *options])
        report = json.loads(capsys.readouterr().out)
        assert report["ok"] == (code == 0)
        return code, {each["part"]: (each["state"], each["text"]) for each in report["findings"]}

    return run


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def dated(server: Any, **shift: float) -> None:
    """Lets the server refuse the doctor's question as a hub does, at another time of day."""
    date = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(**shift), usegmt=True)
    server.always = server.fault(answer=server.answer(400, {"detail": "no picture"}, Date=date))


def test_a_node_that_is_well_gets_a_line_for_everything(examine: Make, new_server: Make, tls: ssl.SSLContext) -> None:
    server = new_server(tls=tls)
    dated(server)
    code, found = examine(server.url)
    assert code == 0, found
    skipped = {"trust root", "release"}
    assert {part for part, (state, _) in found.items() if state not in {"ok", "warning"}} == skipped
    machine = {"config", "permissions", "disk", "memory", "model", "source stills"}
    assert set(found) == machine | skipped | {"token", "ca", "hub dns", "hub connect", "hub tls", "hub auth", "clock"}
    assert "127.0.0.1" in found["hub dns"][1]
    assert not server.kept


def test_each_step_to_the_hub_fails_on_its_own_and_says_what_to_do(
    examine: Make, new_server: Make, tls: ssl.SSLContext, token_file: Path
) -> None:
    code, found = examine("https://hub.invalid", "--no-sources")
    assert code == 1
    assert found["hub dns"][0] == "failed"
    assert "check the URL" in found["hub dns"][1]
    assert "hub connect" not in found

    server = new_server(tls=tls)
    dated(server)
    server.down()
    code, found = examine(server.url, "--no-sources")
    assert (code, found["hub dns"][0], found["hub connect"][0]) == (1, "ok", "failed")
    assert "firewall" in found["hub connect"][1]

    server.up()
    code, found = examine(f"https://127.0.0.1:{server.port}", "--no-sources")
    assert (code, found["hub connect"][0], found["hub tls"][0]) == (1, "ok", "failed")
    assert "check hub.ca_file, hub.url and this machine's clock" in found["hub tls"][1]

    server.always = None
    token_file.write_text("hmt_" + "u" * 43)
    code, found = examine(server.url, "--no-sources")
    assert (code, found["hub tls"][0], found["hub auth"][0]) == (1, "ok", "failed")
    assert "helmet-cloud nodes add" in found["hub auth"][1]
    assert server.received == 0


@pytest.mark.parametrize(("minutes", "state"), [(0, "ok"), (10, "failed"), (-10, "failed")])
def test_the_clock_is_held_against_the_hubs(
    examine: Make, new_server: Make, tls: ssl.SSLContext, minutes: float, state: str
) -> None:
    server = new_server(tls=tls)
    dated(server, minutes=minutes)
    code, found = examine(server.url, "--no-sources")
    assert (code, found["clock"][0]) == (0 if state == "ok" else 1, state)


def test_what_is_wrong_on_the_machine_is_named_with_what_to_do(
    examine: Make, new_server: Make, tls: ssl.SSLContext, token_file: Path, tmp_path: Path
) -> None:
    server = new_server(tls=tls)
    dated(server)
    token_file.chmod(0o644)
    (tmp_path / "ca.pem").write_text("nothing")
    (tmp_path / "data").write_text("a file in the folder's place")
    extra = "[memory]\nlimit='64Mi'\n"
    code, found = examine(server.url, extra=extra, source=tmp_path / "gone.mp4")
    assert code == 1
    for part, advice in {
        "permissions": "correct the path",
        "memory": "raise memory.limit",
        "token": "chmod 600",
        "ca": "copy it from the hub again",
        "source stills": "check address",
        "hub tls": "expected certificates",
    }.items():
        assert found[part][0] == "failed", part
        assert advice in found[part][1], part


def test_an_authority_that_has_expired_is_found(
    examine: Make, new_server: Make, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    server = new_server(tls=tls)
    dated(server)
    old = trustme.CA()
    leaf = old.issue_cert("localhost", not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "ca.pem")
    code, found = examine(server.url, "--no-sources")
    assert code == 1
    assert found["ca"][0] == "failed"


def test_a_configuration_that_cannot_be_used_is_all_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "agent.toml").write_text("[hub]\nurl = 5\nbandwidth = 'much'\n")
    assert main(["doctor", "--config", str(tmp_path / "agent.toml")]) == 1
    *lines, empty, first = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert (empty, first.startswith("mend first: config: ")) == ("", True)
    assert all(line.startswith("failed   config ") for line in lines)
