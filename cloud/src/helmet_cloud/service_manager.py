# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how the hub is (sd_notify, https://www.freedesktop.org/software/systemd/man/sd_notify.html)."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SEND_SECONDS = 0.2
_MICROSECONDS = 1_000_000


class ServiceManager:
    """Sends state where systemd listens; does nothing elsewhere. Never raises.

    Args:
        environ: holds NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        meant = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        microseconds = environ.get("WATCHDOG_USEC", "") if meant else ""
        self.watchdog_seconds = int(microseconds) / _MICROSECONDS if microseconds.isdecimal() else None

    def tell(self, *lines: str) -> None:
        """Sends assignments such as ``READY=1``."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.settimeout(_SEND_SECONDS)
            to.sendto("\n".join(lines).encode(), self._address)
