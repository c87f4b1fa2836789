# SPDX-License-Identifier: Apache-2.0
"""User name and password of a camera: from a file into an address at the last moment. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from helmet_agent.errors import SourceLost

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = 0o007
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, which never show in ``repr``."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def read_credentials(path: Path) -> Credentials:
    """Reads ``user:password`` from the first line of a file; the password may hold any character but a line break.

    Raises:
        SourceLost: the file cannot be read or does not hold a user name and a password.
    """
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline(_LONGEST).rstrip("\r\n")
    except OSError as error:
        raise SourceLost(f"credentials file {path}: cannot be read ({error.strerror}); check path and owner") from None
    except UnicodeDecodeError:
        raise SourceLost(f"credentials file {path}: is not text; write user:password into it") from None
    user, colon, password = line.partition(":")
    if not user or not colon:
        raise SourceLost(f"credentials file {path}: expected one line user:password")
    return Credentials(user, password)


def exposed(path: Path) -> bool:
    """Whether users outside the file's group may read or change it."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def with_credentials(url: str, credentials: Credentials | None) -> str:
    """The address to open: with the credentials in place of any it holds, encoded so that every character is safe."""
    if credentials is None:
        return url
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    user, password = quote(credentials.user, safe=""), quote(credentials.password, safe="")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{place}"))
