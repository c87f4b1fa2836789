# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from helmet_agent.config import AgentConfig, read_config
from helmet_agent.config.document import to_toml
from helmet_agent.errors import ConfigError

GOOD = """
url = "https://192.0.2.20:8443/"
ca_file = "ca.pem"
token_file = "hub.token"
bandwidth = "250k"
report_seconds = "30s"
proxy = "http://192.0.2.8:3128"
"""


def read(text: str) -> AgentConfig:
    return read_config(f"[hub]\n{text}".encode(), "agent.toml", Path("/etc"))


def test_the_hub_is_read_and_written_back() -> None:
    config = read(GOOD)
    hub = config.hub
    assert (hub.url, hub.bandwidth, hub.report_seconds) == ("https://192.0.2.20:8443", 250_000, 30.0)
    assert (hub.ca_file, hub.token_file) == (Path("/etc/ca.pem"), Path("/etc/hub.token"))
    assert read_config(to_toml(config).encode(), "again", Path("/")) == config


def test_without_a_url_there_is_no_hub() -> None:
    assert read("").hub.url is None


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_plain_http_is_for_this_machine_only(host: str) -> None:
    assert read(f'url = "http://{host}"\ntoken_file = "t"').hub.url == f"http://{host}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('url = "http://192.0.2.20:8080"\ntoken_file = "t"', "hub.url: expected https://, since http:// would show"),
        ('url = "https://me:secret@hub.example"\ntoken_file = "t"', "hub.url: expected an address without user name"),
        ('url = "https://hub.example/?token=secret"\ntoken_file = "t"', "hub.url: expected an address without"),
        ('url = "hub.example"\ntoken_file = "t"', "hub.url: expected an https:// address"),
        ('url = "https://"\ntoken_file = "t"', "hub.url: expected an https:// address"),
        ('url = "https://hub.example:99999"\ntoken_file = "t"', "hub.url: expected an https:// address"),
        ('url = "https://hub.example"', "hub.token_file: expected the path of a file with the token"),
        ("bandwidth = 100", "hub.bandwidth: expected 0 or at least 8192"),
        ('bandwidth = "-1k"', "hub.bandwidth"),
        ("report_seconds = 1", "hub.report_seconds"),
        ('proxy = "socks5://192.0.2.8"', "hub.proxy: expected an http:// address"),
        ('tokenfile = "t"', "hub.tokenfile: unknown key; did you mean token_file?"),
    ],
)
def test_what_cannot_be_right_is_refused_by_its_place_and_no_secret_is_shown(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
