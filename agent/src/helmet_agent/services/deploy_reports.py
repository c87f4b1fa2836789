# SPDX-License-Identifier: Apache-2.0
"""Tells whoever announced a model what became of it: ``completed`` when it is confirmed, ``failed`` when it is refused.

Sedna's job waits in its stage Deploy for this word, and for ever if it does not come; so a version is answered once,
whatever happens in between, and again after a restart if the answer was not taken before.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from helmet_agent.errors import RefusedError, StorageError, UpdateError
from helmet_agent.retry import Backoff
from helmet_agent.services.update_state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.ports import Clock
    from helmet_agent.services.update_state import UpdateState

LOOK_SECONDS = 0.5
RETRY_SECONDS, RETRY_CAP_SECONDS = 3.0, 300.0
MOST_TRIES = 30
"""With these waits about an hour and a half; Sedna's own library gives up after 15 seconds."""

CLOSE_SECONDS = 0.5
_LONGEST_REASON = 500
_log = structlog.get_logger(__name__)


class AnnouncedModel(Protocol):
    """A version that was announced; see ``adapters.sedna_feed.Announced``."""

    @property
    def version(self) -> str:
        """Its name."""

    @property
    def sha256(self) -> str:
        """Of the model; empty where there is none."""

    @property
    def key(self) -> str:
        """Sha256 of its manifest; empty where there is nothing to take."""

    @property
    def problem(self) -> str:
        """Why there is no model; empty when there is one."""


class Answered(Protocol):
    """Remembers over restarts which version was answered last."""

    def read(self) -> str:
        """The version; empty at first."""

    def write(self, version: str) -> None:
        """Keeps it.

        Raises:
            StorageError: it cannot be kept.
        """


@dataclass(frozen=True, slots=True)
class Word:
    """What is to be said: ``completed`` or ``failed``, with the reason."""

    status: str
    reason: str = ""


def word_about(announced: AnnouncedModel, state: UpdateState) -> Word | None:
    """What can be said about a version now; None while nobody knows."""
    if announced.problem:
        return Word("failed", announced.problem)
    if not announced.key:
        return Word("completed")  # it serves already
    refusal = next((one for one in state.quarantined if announced.key == one.model.key), None)
    if refusal is not None:
        return Word("failed", refusal.reason)
    if state.phase is Phase.LIVE:
        return None
    return Word("completed") if state.last_confirmed.key == announced.key else None


class DeployReports:
    """Answers on a thread of its own.

    Args:
        announced: the version that is announced now.
        state: of the updater.
        send: one attempt; raises RefusedError for good, UpdateError for now.
        answered: survives restarts.
        clock: time.
        random: numbers in [0, 1).
    """

    def __init__(
        self,
        *,
        announced: Callable[[], AnnouncedModel | None],
        state: Callable[[], UpdateState],
        send: Callable[[str, dict[str, str]], None],
        answered: Answered,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._announced = announced
        self._state = state
        self._send = send
        self._answered = answered
        self._clock = clock
        self._backoff = Backoff(RETRY_SECONDS, RETRY_CAP_SECONDS, 2.0, random)
        self._last = answered.read()
        self._version = ""
        self._tries = 0
        self._not_before = 0.0
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deploy reports", daemon=True)
        self.counts = {"sent": 0, "lost": 0}

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Ends; what could not be said is said after the next start."""
        self._leaving.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def turn(self) -> None:
        """One look; the thread does nothing else."""
        announced = self._announced()
        if announced is None or announced.version == self._last:
            return
        if announced.version != self._version:
            self._version, self._tries, self._not_before = announced.version, 0, 0.0
            self._backoff.reset()
        word = word_about(announced, self._state())
        if word is None or self._clock.monotonic() < self._not_before:
            return
        self._tries += 1
        try:
            self._send(word.status, _info(announced, word))
        except UpdateError as error:
            if self._tries < MOST_TRIES:
                self._not_before = self._clock.monotonic() + self._backoff.next_delay()
                if self._tries == 1:
                    _log.warning("deployment is not reported yet; trying again", reason=str(error))
                return
            self._lost(error)
        except RefusedError as error:
            self._lost(error)
        else:
            self.counts["sent"] += 1
            _log.info("deployment reported", status=word.status, version=announced.version)
        self._keep(announced.version)

    def _lost(self, error: Exception) -> None:
        self.counts["lost"] += 1
        _log.error("deployment could not be reported; Sedna's job may wait for it", reason=str(error))

    def _keep(self, version: str) -> None:
        self._last = version
        try:
            self._answered.write(version)
        except StorageError as error:
            _log.warning("a restart may repeat the report", reason=str(error))

    def _run(self) -> None:
        while not self._leaving.is_set():
            try:
                self.turn()
            except Exception as error:
                _log.error("reporting a deployment failed; trying again", reason=repr(error))
                self._leaving.wait(RETRY_SECONDS)
            self._leaving.wait(LOOK_SECONDS)


def _info(announced: AnnouncedModel, word: Word) -> dict[str, str]:
    found = {"version": announced.version, "model": announced.sha256}
    return found | ({"reason": word.reason[:_LONGEST_REASON]} if word.reason else {})
