# SPDX-License-Identifier: Apache-2.0
"""The hub's client: whom it trusts, what it shows to whom, which way it takes."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from helmet_agent.adapters.hub_http.answers import Answer, failure
from helmet_agent.adapters.hub_http.client import HubAddress, HubHttp
from helmet_agent.errors import ConfigError, HubDenied, HubUnavailable

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[..., Any]


def at_once(_count: int) -> None:
    pass


@pytest.fixture
def ca_file(tmp_path: Path, authority: trustme.CA) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def tls_for(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_an_example_travels_over_tls_under_the_sites_own_authority(
    new_server: Make, make_hub: Make, make_example: Make, authority: trustme.CA, ca_file: Path
) -> None:
    server = new_server(tls=tls_for(authority, "localhost"))
    hub = make_hub(server, ca_file)
    for number in range(3):
        assert hub.put_example(make_example(number), at_once) is True
    assert server.connections == 1, "one handshake for all"


@pytest.fixture(params=["another name's", "another authority's"])
def impostor(request: pytest.FixtureRequest, new_server: Make, authority: trustme.CA) -> Any:
    """A server with a certificate that is not the hub's."""
    if request.param == "another name's":
        return new_server(tls=tls_for(authority, "other.example"))
    return new_server(tls=tls_for(trustme.CA(), "localhost"))


def test_the_token_is_never_shown_to_a_server_that_cannot_prove_who_it_is(
    impostor: Any, make_hub: Make, make_example: Make, ca_file: Path
) -> None:
    with pytest.raises(HubUnavailable, match=r"certificate is not accepted .*check hub\.ca_file"):
        make_hub(impostor, ca_file).put_example(make_example(1), at_once)
    assert impostor.received == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")  # it is refused here
def test_a_hub_that_speaks_only_old_tls_is_refused(
    new_server: Make, make_hub: Make, make_example: Make, authority: trustme.CA, ca_file: Path
) -> None:
    old = tls_for(authority, "localhost")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    server = new_server(tls=old)
    with pytest.raises(HubUnavailable):
        make_hub(server, ca_file).put_example(make_example(1), at_once)
    assert not server.kept


def test_the_environments_proxy_is_not_used(
    hub_server: Any, make_hub: Make, make_example: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert make_hub(hub_server).put_example(make_example(1), at_once) is True


def test_a_proxy_that_was_asked_for_is_used(
    hub_server: Any, new_server: Make, token_file: Path, make_example: Make
) -> None:
    proxy = new_server(always=hub_server.fault(answer=hub_server.answer(407)))
    hub = HubHttp(HubAddress(hub_server.url, token_file, proxy=proxy.url))
    with pytest.raises(HubUnavailable, match=r"407: a proxy asks for a password; check hub\.proxy"):
        hub.put_example(make_example(1), at_once)
    hub.close()
    assert (proxy.connections, hub_server.connections) == (1, 0)


def test_a_token_that_was_replaced_is_read_again_after_a_denial(
    hub_server: Any, make_hub: Make, make_example: Make, token_file: Path
) -> None:
    hub = make_hub(hub_server)
    hub.put_example(make_example(1), at_once)
    hub_server.token = "hmt_" + "n" * 43
    with pytest.raises(HubDenied, match="401: the token is not known there"):
        hub.put_example(make_example(2), at_once)
    token_file.write_text(hub_server.token + "\n")
    assert hub.put_example(make_example(2), at_once) is True


def test_a_token_file_that_went_away_is_a_denial_that_says_so(
    hub_server: Any, make_hub: Make, make_example: Make, token_file: Path
) -> None:
    token_file.unlink()
    with pytest.raises(HubDenied, match=r"hub\.token: the token cannot be read: No such file"):
        make_hub(hub_server).put_example(make_example(1), at_once)
    assert hub_server.connections == 0


def test_an_authority_that_is_no_certificate_is_refused_by_name(tmp_path: Path, token_file: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for path, says in ((tmp_path / "ca.pem", "expected certificates"), (tmp_path / "gone.pem", "No such file")):
        with pytest.raises(ConfigError, match=says):
            HubHttp(HubAddress("https://hub.example", token_file, path))


def test_a_name_that_nobody_knows_is_one_clear_line(token_file: Path, make_example: Make) -> None:
    hub = HubHttp(HubAddress("https://hub.invalid", token_file, timeout_seconds=5))
    with pytest.raises(HubUnavailable, match="no connection") as caught:
        hub.put_example(make_example(1), at_once)
    assert not caught.value.suspect
    assert "\n" not in str(caught.value)
    hub.close()


NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("9" * 400, 999_999_999.0),
        (format_datetime(NOW + dt.timedelta(minutes=5), usegmt=True), 300.0),
        (format_datetime(NOW - dt.timedelta(minutes=5), usegmt=True), 0.0),
        ("soon", None),
        ("-1", None),
        ("1e9", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_a_date_on_the_hubs_own_clock(text: str, seconds: float | None) -> None:
    headers = {"retry-after": text, "date": format_datetime(NOW, usegmt=True)}
    error = failure(Answer(503, headers, b""))
    assert isinstance(error, HubUnavailable)
    assert error.retry_after_seconds == seconds


def test_what_the_hub_says_becomes_one_short_line_without_control_characters() -> None:
    body = b'{"detail": "\\u001b[31mred\\nand ' + b"long" * 100 + b'"}'
    text = str(failure(Answer(400, {"content-type": "application/problem+json"}, body)))
    assert text.isprintable()
    assert len(text) < 250
