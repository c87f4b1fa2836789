# SPDX-License-Identifier: Apache-2.0
"""Who may ask the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest

from helmet_agent.api.guard import is_loopback_host, read_token, session_value
from helmet_agent.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PATHS = ("/healthz", "/readyz", "/metrics", "/v1/status", "/v1/events", "/v1/preview.mjpg", "/v1/model", "/nowhere")


Get = Callable[..., httpx.Response]


@pytest.fixture
def get(web: httpx.Client) -> Get:
    def ask(url: str, **headers: str) -> httpx.Response:
        return web.get(url, headers=headers)

    return ask


def test_with_a_token_nothing_is_shown_to_strangers(guarded_url: str, token: str, web: httpx.Client) -> None:
    wrong = [
        {},
        {"authorization": f"Bearer {token}x"},
        {"authorization": f"Basic {token}"},
        {"authorization": token},
        {"authorization": "Bearer"},
        {"cookie": f"helmet_agent={token}"},
        {"cookie": 'helmet_agent="'},
        {"authorization": "Bearer \xff"},
    ]
    for path in PATHS:
        for headers in wrong:
            encoded = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
            answer = web.get(guarded_url + path, headers=encoded)
            assert answer.status_code == 401, (path, headers)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "site-3" not in answer.text


def test_with_the_token_everything_is(guarded_url: str, token: str, get: Get) -> None:
    assert get(guarded_url + "/v1/status", authorization=f"Bearer {token}").json()["node"] == "site-3"
    assert get(guarded_url + "/v1/status", authorization=f"bearer  {token}").status_code == 200
    # Behind a proxy the node has other names; the token is what counts.
    assert get(guarded_url + "/v1/status", authorization=f"Bearer {token}", host="node.example").status_code == 200


def test_a_browser_gets_the_page_to_enter_the_token_and_a_cookie_for_it(guarded_url: str, token: str, get: Get) -> None:
    page = get(guarded_url + "/")
    assert page.status_code == 401
    assert "text/html" in page.headers["content-type"]
    assert "<script>" in page.text
    with httpx.Client(base_url=guarded_url, trust_env=False, timeout=5) as browser:
        assert browser.post("/session", headers={"authorization": "Bearer wrong"}).status_code == 401
        answer = browser.post("/session", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert token not in cookie
        assert browser.get("/v1/status").status_code == 200
        assert browser.get("/").status_code == 200


def test_no_schema_off_loopback(guarded_url: str, loopback_url: str, token: str, get: Get) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert get(guarded_url + path, authorization=f"Bearer {token}").status_code == 404
    assert get(loopback_url + "/openapi.json").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "192.0.2.1", "127.0.0.1.evil.example", ""])
def test_on_loopback_only_its_own_names_are_answered(loopback_url: str, host: str, get: Get) -> None:
    answer = get(loopback_url + "/v1/status", host=host)
    assert answer.status_code in (400, 403)
    assert "site-3" not in answer.text


def test_on_loopback_other_web_sites_are_not_answered(loopback_url: str, get: Get) -> None:
    assert get(
        loopback_url + "/v1/preview.mjpg", **{"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    ).is_error
    assert get(loopback_url + "/", **{"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).is_success
    assert get(loopback_url + "/v1/status", **{"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}).is_success


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST.:80", True),
        ("127.0.0.1:8765", True),
        ("127.9.9.9", True),
        ("[::1]:8765", True),
        ("[::1]", True),
        ("[::2]:80", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("[", False),
        (":", False),
        ("", False),
    ],
)
def test_loopback_names(host: str, loopback: bool) -> None:
    assert is_loopback_host(host) is loopback


def test_the_token_is_read_from_its_file(tmp_path: Path, token: str) -> None:
    file = tmp_path / "token"
    file.write_text(token + "\n")
    assert read_token(file) == token


@pytest.mark.parametrize("content", [b"", b"short", b"two words but long enough", b"\xff" * 40, b"a" * 5000])
def test_what_cannot_be_a_token_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="openssl rand -hex 32") as caught:
        read_token(file)
    assert not content or content.decode("latin-1") not in str(caught.value)


def test_a_token_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_token(tmp_path / "none")


def test_the_cookie_does_not_tell_the_token() -> None:
    assert session_value("a" * 16) != session_value("b" * 16)
    assert "a" * 4 not in session_value("a" * 16)
