# SPDX-License-Identifier: Apache-2.0
"""Credentials come from a file, fit into an address whatever they hold, and show nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.credentials import Credentials, exposed, read_credentials, with_credentials
from helmet_agent.errors import SourceLost

if TYPE_CHECKING:
    from pathlib import Path

PLANTED = "Zx9PlantedZx9"


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "user", "password"),
    [
        (b"admin:secret", "admin", "secret"),
        (b"admin:secret\r\n", "admin", "secret"),
        (b"admin:se:cr@et /?#\n", "admin", "se:cr@et /?#"),
        (b"admin:\n", "admin", ""),
        ("jörg:gehëim\n".encode(), "jörg", "gehëim"),
    ],
)
def test_the_first_line_holds_user_and_password(tmp_path: Path, content: bytes, user: str, password: str) -> None:
    found = read_credentials(write(tmp_path / "c", content))
    assert (found.user, found.password) == (user, password)


@pytest.mark.parametrize("content", [b"", b"\n", b"only-a-word", b":password", b"\xff\xfe:\x80"])
def test_a_file_without_them_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceLost, match="credentials file") as error:
        read_credentials(write(tmp_path / "c", content))
    assert "only-a-word" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceLost, match=r"nothing.*No such file"):
        read_credentials(tmp_path / "nothing")


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o606, True)])
def test_a_file_that_others_may_read_is_exposed(tmp_path: Path, mode: int, warned: bool) -> None:
    assert exposed(write(tmp_path / "c", b"a:b", mode)) is warned


def test_a_missing_file_is_not_exposed(tmp_path: Path) -> None:
    assert not exposed(tmp_path / "nothing")


@given(user=st.text(min_size=1, max_size=20), password=st.text(max_size=20))
def test_every_character_survives_the_way_into_an_address(user: str, password: str) -> None:
    parts = urlsplit(with_credentials("rtsp://old:word@cam:554/s?x=1#f", Credentials(user, password)))
    assert unquote(parts.username or "") == user
    assert unquote(parts.password or "") == password
    assert (parts.hostname, parts.port, parts.path, parts.query) == ("cam", 554, "/s", "x=1")


def test_without_a_file_the_address_is_left_alone() -> None:
    assert with_credentials("rtsp://a:b@cam/s", None) == "rtsp://a:b@cam/s"
    assert with_credentials("http://[::1]:80/s", Credentials("a", "b")) == "http://a:b@[::1]:80/s"


def test_they_do_not_show() -> None:
    assert PLANTED not in repr(Credentials("admin", PLANTED))
