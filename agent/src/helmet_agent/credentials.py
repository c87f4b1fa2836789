# SPDX-License-Identifier: Apache-2.0
"""A camera's user name and password: read from a file, put into an address at the last moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import structlog

from helmet_agent.errors import SourceLost

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = 0o007
_LONGEST = 4096

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, which never show in ``repr``."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def read_credentials(path: Path) -> Credentials:
    """Reads ``user:password`` from the first line of a file; the password may hold any character but a line break.

    A file that others may read is used, with a warning.

    Raises:
        SourceLost: the file cannot be read or does not hold a user name and a password.
    """
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline(_LONGEST).rstrip("\r\n")
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceLost(f"credentials file {path}: cannot be read ({error.strerror}); check path and owner") from None
    except UnicodeDecodeError:
        raise SourceLost(f"credentials file {path}: is not text; write user:password into it") from None
    user, colon, password = line.partition(":")
    if not user or not colon:
        raise SourceLost(f"credentials file {path}: expected one line user:password")
    if mode & _OTHERS:
        _log.warning("others may read this credentials file; chmod 600 it", path=str(path))
    return Credentials(user, password)


def with_credentials(url: str, credentials: Credentials | None) -> str:
    """The address to open: with the credentials in place of any it holds, encoded so that every character is safe."""
    if credentials is None:
        return url
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    user, password = quote(credentials.user, safe=""), quote(credentials.password, safe="")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{place}"))
