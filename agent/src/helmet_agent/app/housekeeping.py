# SPDX-License-Identifier: Apache-2.0
"""Deletes pictures of people when their time is over, now and then."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from helmet_agent.errors import AgentError

if TYPE_CHECKING:
    from helmet_agent.app.composition import Agent

PERIOD_SECONDS = 600.0

_log = structlog.get_logger(__name__)


class Housekeeping:
    """Runs the spool's retention rule every ten minutes on a thread of its own; the event writer has its own."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begins with a first round at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(0.5)

    def sweep(self) -> None:
        """One round; what cannot be deleted is logged and tried again in the next."""
        config = self._agent.config
        try:
            if self._agent.spool is not None:
                expired = self._agent.spool.expire(self._agent.calendar.certain(), config.spool.retention_days)
                if expired:
                    _log.info("hard examples deleted after their time", count=expired, days=config.spool.retention_days)
        except AgentError as error:
            _log.error("pictures could not be deleted after their time; trying again", reason=str(error))

    def _run(self) -> None:
        while not self._stop.is_set():
            self.sweep()
            self._stop.wait(PERIOD_SECONDS)
