# SPDX-License-Identifier: Apache-2.0
"""The node's token: made once on the node, known to the hub by its SHA-256 only. Standard library only.

A token is ``hmt_`` and 43 letters of the URL-safe base64 alphabet, 256 random bits.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING

from helmet_agent.durable import create_atomic
from helmet_agent.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "hmt_"
_TOKEN = re.compile(r"hmt_[A-Za-z0-9_-]{43}\Z")
_LONGEST_FILE = 256
_NOT_SAFE = 0o027
"""Others must not read it and nobody but the owner change it. The group may read: systemd's LoadCredential shows the
access that it gives the service's user as the group's."""


def new_token() -> str:
    """A token that nobody had before."""
    return PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """What the hub is told: the SHA-256 of the token, in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def make_token(path: Path) -> tuple[str, bool]:
    """Makes the token unless there is one already, which is never replaced.

    Args:
        path: the file, in an existing folder; gets mode 0600.

    Returns:
        The token in the file, and whether it was made now.

    Raises:
        StorageError: it cannot be written. ConfigError: the file that is there holds no token or is open to others.
    """
    made = create_atomic(path, new_token().encode() + b"\n", mode=0o600)
    return read_token(path), made


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        ConfigError: it cannot be read, holds no token, or others may read or change it. The message does not show it.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            content = file.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: the token cannot be read: {error.strerror}; make it with `helmet-agent enrol --token-file {path}`"
        ) from error
    if mode & _NOT_SAFE:
        raise ConfigError(
            f"{path}: others may read or change the token (mode {mode & 0o777:04o}); run `chmod 600 {path}`"
        )
    token = content.decode("ascii", "replace").strip()
    if not _TOKEN.match(token):
        raise ConfigError(
            f"{path}: expected one line, hmt_ and 43 letters, digits, '-' or '_'; move the file away and make a token "
            f"with `helmet-agent enrol --token-file {path}`"
        )
    return token
