# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud serve``: the hub as a service."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helmet_agent.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from helmet_cloud.app import Hub
    from helmet_cloud.service_manager import ServiceManager

LEVELS, FORMATS = ("debug", "info", "warning", "error"), ("auto", "console", "json", "journal")
_BEAT_SECONDS = 5.0

DataDir = Annotated[Path, typer.Option("--data-dir", metavar="DIR", help="The hub's folder, made by `init`.")]


def serve(
    data_dir: DataDir,
    *,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = "info",
    log_format: Annotated[
        str, typer.Option(metavar="FORMAT", help="console, json, journal; auto: the journal under systemd.")
    ] = "auto",
) -> None:
    """Run the hub until SIGTERM or Ctrl-C.

    `helmet-cloud serve --data-dir hub`
    """
    if log_level not in LEVELS:
        raise UsageError(f"--log-level: expected one of {', '.join(LEVELS)}, found {log_level!r}")
    if log_format not in FORMATS:
        raise UsageError(f"--log-format: expected one of {', '.join(FORMATS)}, found {log_format!r}")

    import structlog  # noqa: PLC0415 - commands load only what they use

    from helmet_agent.logs import configure_logging  # noqa: PLC0415 - as above
    from helmet_cloud.app import Hub  # noqa: PLC0415 - as above
    from helmet_cloud.service_manager import ServiceManager  # noqa: PLC0415 - as above
    from helmet_cloud.settings import HubHome  # noqa: PLC0415 - as above

    configure_logging(log_level, log_format)
    log = structlog.get_logger(__name__)
    wanted = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: wanted.set())
    manager = ServiceManager(os.environ)
    hub = Hub(HubHome.load(data_dir))
    try:
        if not wanted.is_set():
            hub.start()
            log.info("the hub serves", url=hub.url, workers=hub.workers_server.address, folder=str(data_dir))
            manager.tell("READY=1", f"STATUS=serves {hub.url}")
            _wait(hub, manager, wanted)
        manager.tell("STOPPING=1")
    finally:
        hub.stop()
    log.info("the hub has stopped")
    # Taking the interpreter apart costs a busy machine seconds, and everything is on the disk.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_OK)


def _wait(hub: Hub, manager: ServiceManager, wanted: threading.Event) -> None:
    """Until somebody wants it to stop; beats for the watchdog while every part turns."""
    pause = min(_BEAT_SECONDS, (manager.watchdog_seconds or _BEAT_SECONDS * 2) / 2)
    while not wanted.wait(pause):
        problems = hub.problems()
        if not problems:
            manager.tell("WATCHDOG=1")
