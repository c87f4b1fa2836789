# SPDX-License-Identifier: Apache-2.0
"""When the updater does what: polls with jitter, backs off after faults, watches a probation, takes requests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from helmet_agent.contract import Quarantined
from helmet_agent.errors import AgentError, RefusedError
from helmet_agent.retry import Backoff
from helmet_agent.services.reporting import ModelNews
from helmet_agent.services.update_state import Phase, Verdict
from helmet_agent.status import UpdateStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.errors import ModelError
    from helmet_agent.ports import Clock, ModelFeed, ModelProbe, ModelRequest, ModelShelf
    from helmet_agent.services.update_state import UpdateState
    from helmet_agent.services.updater import Updater

TURN_SECONDS = 1.0
"""How often requests are looked for and a probation is judged."""

JITTER = 0.1
"""Each wait between two polls differs from the period by up to this share, so that a fleet does not poll in step."""

FIRST_POLL_SECONDS = 5.0
"""The first poll comes within so many seconds of the start, or within one period where that is shorter."""

RETRY_SECONDS, RETRY_CAP_SECONDS = 5.0, 900.0
CLOSE_SECONDS = 0.5

_STATES = {
    Phase.METADATA: "downloading",
    Phase.DOWNLOADING: "downloading",
    Phase.VERIFIED: "downloading",
    Phase.INSTALLED: "probing",
    Phase.PROBING: "probing",
    Phase.WAITING: "waiting_restart",
    Phase.LIVE: "probation",
}
_log = structlog.get_logger(__name__)


class UpdateLoop:
    """Runs the updater on a thread of its own.

    Args:
        updater: does the work.
        feed, probe: told to end soon when the agent stops.
        shelf: where requests are left.
        open_bundle: makes a feed of a folder that an operator wants imported.
        clock: time.
        random: numbers in [0, 1).
        poll_seconds: the period now; the live manifest may change it.
        doubt: why the clock is not believed, for the status; None while it is.
        job, ring: what is followed, for the status.
    """

    def __init__(
        self,
        *,
        updater: Updater,
        feed: ModelFeed,
        probe: ModelProbe,
        shelf: ModelShelf,
        open_bundle: Callable[[str], ModelFeed],
        clock: Clock,
        random: Callable[[], float],
        poll_seconds: Callable[[], float],
        job: str,
        ring: str,
        doubt: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._updater = updater
        self._feed = feed
        self._probe = probe
        self._shelf = shelf
        self._open_bundle = open_bundle
        self._clock = clock
        self._random = random
        self._poll_seconds = poll_seconds
        self._job, self._ring = job, ring
        self._doubt = doubt
        self._backoff = Backoff(RETRY_SECONDS, RETRY_CAP_SECONDS, 2.0, random)
        self._next_poll = clock.monotonic() + random() * min(FIRST_POLL_SECONDS, poll_seconds())
        self._leaving = threading.Event()
        self._turning = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="updater", daemon=True)
        self._polls = self._faults = self._faults_in_a_row = 0
        self._last_error: str | None = None
        self._checked: float | None = None
        self._offer = ""

    def start(self) -> None:
        """Begins; the first poll comes soon."""
        self._thread.start()

    def close(self, *, goodbye: bool) -> None:
        """Ends it, within about half a second.

        Args:
            goodbye: the agent ends as it should, so that a model on probation may go on with the next start.
        """
        self._leaving.set()
        self._feed.cancel()
        self._probe.cancel()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)
        # A step that does not end now is repaired by the next start; but nothing may be written beside it.
        if goodbye and self._turning.acquire(timeout=CLOSE_SECONDS):
            try:
                self._updater.say_goodbye()
            except AgentError as error:
                _log.warning("models: the journal could not be closed", reason=str(error))
            finally:
                self._turning.release()

    def rescue(self, error: ModelError) -> bool:
        """See ``Updater.rescue``; from the pipeline's threads."""
        return self._updater.rescue(error)

    def news(self) -> ModelNews:
        """What the node's reports say of its models; from any thread."""
        state = self._updater.state
        refused = tuple(Quarantined(one.model.sha256, one.reason) for one in state.quarantined)
        return ModelNews(state_name(state), self._job, self._ring, refused)

    def status(self) -> UpdateStatus:
        """The updater as the outside sees it; from any thread."""
        state = self._updater.state
        return UpdateStatus(
            state=state_name(state),
            job=self._job,
            ring=self._ring,
            release=state.current.release,
            sha256=state.current.sha256,
            candidate=None if state.candidate is None else state.candidate.sha256,
            quarantined=tuple((one.model.sha256, one.reason) for one in state.quarantined),
            offer=self._offer,
            last_error=self._last_error,
            faults_in_a_row=self._faults_in_a_row,
            checked_seconds=self._checked,
            clock_doubt=self._doubt(),
            counters={"polls": self._polls, "faults": self._faults, **self._updater.counts},
        )

    def turn(self) -> None:
        """One turn; the thread does nothing else."""
        with self._turning:
            for request in self._shelf.requests():
                self._answer(request)
            if self._updater.state.phase is Phase.LIVE:
                self._updater.watch()
            elif self._clock.monotonic() >= self._next_poll:
                self._poll()

    def _poll(self) -> None:
        self._polls += 1
        # Should anything unforeseen end this turn, the next poll still waits its time.
        self._next_poll = self._clock.monotonic() + max(TURN_SECONDS, self._backoff.next_delay())
        try:
            verdict = self._updater.update()
        except AgentError as error:
            self._faults += 1
            self._faults_in_a_row += 1
            if str(error) != self._last_error:
                _log.warning("models: nothing new could be taken; trying again", reason=str(error))
            self._last_error = str(error)
            return
        if self._last_error is not None:
            _log.info("models: the channel is read again")
        self._backoff.reset()
        self._last_error, self._faults_in_a_row = None, 0
        self._checked = self._clock.now()
        self._offer = "" if verdict is None else verdict.value
        spread = 1.0 + JITTER * (2.0 * self._random() - 1.0)
        self._next_poll = self._clock.monotonic() + self._poll_seconds() * spread

    def _answer(self, request: ModelRequest) -> None:
        try:
            text = self._obey(request)
        except (AgentError, ValueError) as error:
            _log.warning("models: an operator's request was refused", action=request.action, reason=str(error))
            self._shelf.answer(request, str(error), done=False)
        else:
            _log.info("models: an operator's request was obeyed", action=request.action, outcome=text)
            self._shelf.answer(request, text, done=True)

    def _obey(self, request: ModelRequest) -> str:
        if request.action == "rollback":
            model = self._updater.roll_back(request.argument)
            return f"back to release {model.release}, {model.sha256}"
        if request.action == "unquarantine":
            lifted = self._updater.unquarantine(request.argument)
            self._next_poll = self._clock.monotonic()
            return f"{lifted} model{'' if lifted == 1 else 's'} may be tried again"
        if self._updater.state.phase is Phase.LIVE:
            raise RefusedError("a model is on probation; import again when it is confirmed")
        return import_from(self._updater, self._open_bundle(request.argument))

    def _run(self) -> None:
        while not self._leaving.is_set():
            try:
                self.turn()
            except Exception as error:
                self._faults += 1
                reason = str(error) or repr(error)
                if reason != self._last_error:
                    _log.error("models: a step failed; trying again", reason=repr(error))
                self._last_error = reason
            self._leaving.wait(TURN_SECONDS)


def import_from(updater: Updater, bundle: ModelFeed) -> str:
    """Takes the model of a bundle; returns what became of it, in words.

    Raises:
        RefusedError: it may not be taken, or did not prove itself. UpdateError, StorageError: the surroundings.
    """
    verdict = updater.update(bundle)
    state = updater.state
    if verdict is None:
        raise RefusedError("the bundle has no model for the job and ring that this node follows")
    if verdict not in (Verdict.TAKE, Verdict.UNDER_WAY):
        raise RefusedError(f"the bundle's model is not taken: {verdict.value}")
    if state.phase is Phase.IDLE:
        raise RefusedError(f"the bundle's model is refused: {state.quarantined[0].reason}")
    where = {Phase.LIVE: "serves, on probation", Phase.WAITING: "is taken at the agent's next start"}
    model = state.candidate
    name = "" if model is None else f"release {model.release}, {model.sha256} "
    return f"{name}{where.get(state.phase, state.phase.value)}"


def state_name(state: UpdateState) -> str:
    """One of ``contract.MODEL_STATES``."""
    if state.phase is Phase.IDLE:
        return "confirmed" if state.current.job else "idle"
    return _STATES[state.phase]
