# SPDX-License-Identifier: Apache-2.0
"""Talks to systemd's service manager (sd_notify, https://www.freedesktop.org/software/systemd/man/sd_notify.html)."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = structlog.get_logger(__name__)
_MICROSECONDS = 1_000_000
_SEND_SECONDS = 0.2


class Notifier:
    """Sends state to the service manager; does nothing where there is none. Never raises, waits 0.2 s at most.

    Args:
        environ: holds NOTIFY_SOCKET where systemd listens: a path, or ``@name`` in the abstract namespace.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
        # Other kinds of address (vsock:) are for virtual machines.
        self._address = "\0" + address[1:] if address.startswith("@") else address if address.startswith("/") else ""

    @property
    def listening(self) -> bool:
        """Whether there is a service manager to talk to."""
        return bool(self._address)

    def ready(self, status: str = "") -> bool:
        """The agent is warm and serves."""
        return self._send("READY=1", *_status(status))

    def reloading(self) -> bool:
        """The agent reads its configuration again; follow with ``ready``."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> bool:
        """The agent has begun to stop."""
        return self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> bool:
        """One line for ``systemctl status``."""
        return self._send(*_status(text))

    def watchdog(self) -> bool:
        """The agent is alive."""
        return self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> bool:
        """Whether the message was handed over."""
        if not self._address or not lines:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
                to.settimeout(_SEND_SECONDS)
                to.sendto("\n".join(lines).encode(), self._address)
        except (OSError, ValueError) as error:
            # A lost beat must not stop the work; if it stays lost, systemd restarts us and says so.
            _log.debug("the service manager cannot be told", reason=str(error))
            return False
        return True


def watchdog_interval(environ: Mapping[str, str] | None = None, pid: int | None = None) -> float | None:
    """Seconds within which systemd wants a beat from this process, or None when it wants none.

    Args:
        environ: WATCHDOG_USEC, and WATCHDOG_PID when it is meant for one process only.
        pid: this process's id.
    """
    environ = os.environ if environ is None else environ
    wanted = environ.get("WATCHDOG_PID", "")
    if wanted and wanted != str(os.getpid() if pid is None else pid):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isascii() or not microseconds.isdigit() or len(microseconds) > 18 or not int(microseconds):  # noqa: PLR2004 - no overflow
        return None
    return int(microseconds) / _MICROSECONDS


def stuck_stages(ages: Mapping[str, float], limit_seconds: float) -> tuple[str, ...]:
    """Names of the stage loops that have not turned for longer than the limit; the beat is withheld for them."""
    return tuple(sorted(name for name, age in ages.items() if not age <= limit_seconds))


class Watchdog:
    """Beats for systemd while every stage loop turns; falls silent when one stands still, so that systemd restarts us.

    Args:
        beats: for each stage loop, how many seconds ago it last turned. A source that waits to reconnect turns too.
        limit_seconds: how old a beat may be; longer than the longest wait inside any loop.
        notifier: who is told.
        interval_seconds: what systemd wants (``watchdog_interval``); half of it passes between beats. None: no beats.
    """

    def __init__(
        self,
        beats: Callable[[], Mapping[str, float]],
        limit_seconds: float,
        notifier: Notifier,
        interval_seconds: float | None,
    ) -> None:
        self._beats = beats
        self._limit = limit_seconds
        self._notifier = notifier
        self._interval = interval_seconds
        self._stop = threading.Event()
        self._stuck: tuple[str, ...] = ()
        self._thread: threading.Thread | None = None

    @property
    def stuck(self) -> tuple[str, ...]:
        """The stage loops that stood still when last looked at."""
        return self._stuck

    def check(self) -> bool:
        """Looks at the loops once and beats if all of them turn; whether they do."""
        try:
            stuck = stuck_stages(self._beats(), self._limit)
        except Exception as error:
            stuck = ("watchdog",)
            _log.error("the stages cannot be looked at; no beat", reason=str(error))
        if stuck and stuck != self._stuck:
            _log.error("a stage stands still; the watchdog is not fed", stages=list(stuck), limit_seconds=self._limit)
        self._stuck = stuck
        if not stuck:
            self._notifier.watchdog()
        return not stuck

    def start(self) -> None:
        """Beats on a thread of its own, if systemd wants beats."""
        if self._interval is None or self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        pause = (self._interval or 1.0) / 2
        while not self._stop.is_set():
            self.check()
            self._stop.wait(pause)


def _status(text: str) -> tuple[str, ...]:
    """STATUS= is one line; line breaks would begin a new assignment."""
    return (f"STATUS={' '.join(text.split())}",) if text.strip() else ()
