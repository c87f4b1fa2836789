# SPDX-License-Identifier: Apache-2.0
"""What a failing disk or a busy database means to a client."""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError

from helmet_cloud.errors import Busy, HubError, OutOfSpace

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def as_hub_error(error: BaseException) -> HubError:
    """The refusal for any fault; a ``HubError`` is its own. What fits nothing else is a plain one, status 500."""
    if isinstance(error, HubError):
        return error
    if is_full(error):
        return OutOfSpace("the hub's disk is full; nothing was kept; free some space there")
    if _sqlite_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy("the hub's database is busy; nothing was kept; try again")
    return HubError("the hub cannot keep it; nothing was kept; its log has the reason")


def is_full(error: BaseException) -> bool:
    """Whether the disk, a quota or a limit of file sizes is behind it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        if _sqlite_code(cause) == sqlite3.SQLITE_FULL:
            return True
        cause = cause.__cause__
    return False


def _sqlite_code(error: BaseException) -> int | None:
    inner = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(inner, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # the rest of an extended code only says where
