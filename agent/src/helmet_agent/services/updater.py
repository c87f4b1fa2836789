# SPDX-License-Identifier: Apache-2.0
"""Takes new models from the channel, one step after the other.

Each step is in the journal before it is taken (``update_state``), so that a crash at any point is repaired by the next
start. What is the model's fault puts it into quarantine; what is the fault of the surroundings only costs time.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import structlog

from helmet_agent.errors import ConfigError, ModelError, RefusedError, StorageError, UpdateError
from helmet_agent.services.probation import Outcome, Probation
from helmet_agent.services.update_events import Kind, ModelRef
from helmet_agent.services.update_state import Phase, UpdateState, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_agent.contract import FileReference
    from helmet_agent.ports import Clock, ModelFeed, ModelOffer, ModelProbe, ModelShelf
    from helmet_agent.services.live_model import LiveModel, UpdateRules
    from helmet_agent.services.update_book import UpdateBook

_UNFINISHED = (Phase.DOWNLOADING, Phase.VERIFIED, Phase.PROBING)
_log = structlog.get_logger(__name__)


class Updater:
    """Does one thing at a time; every method but ``rescue`` belongs to one thread.

    Args:
        feed: the channel.
        shelf: the models on the disk.
        book: the state, begun.
        probe: tries models in a process of their own.
        live: the model that serves.
        clock: time.
        rules: from the configuration.
    """

    def __init__(
        self,
        *,
        feed: ModelFeed,
        shelf: ModelShelf,
        book: UpdateBook,
        probe: ModelProbe,
        live: LiveModel,
        clock: Clock,
        rules: UpdateRules,
    ) -> None:
        self._feed = feed
        self._shelf = shelf
        self._book = book
        self._probe = probe
        self._live = live
        self._clock = clock
        self._rules = rules
        self._probation: Probation | None = None
        self._given_up: tuple[Kind, str] | None = None
        self._rescued = ""
        self._lock = threading.Lock()
        self.counts = {"taken": 0, "confirmed": 0, "rolled_back": 0, "quarantined": 0}
        if self.state.phase is Phase.LIVE:
            self._begin_probation()

    @property
    def state(self) -> UpdateState:
        """What the journal adds up to."""
        return self._book.state

    def update(self, feed: ModelFeed | None = None) -> Verdict | None:
        """Asks the channel, or another feed, and takes what it has as far as it goes now.

        Returns:
            What became of the offer; None when there was none.

        Raises:
            UpdateError, StorageError: the surroundings got in the way; the same is tried again later.
        """
        feed = feed or self._feed
        self._step_back_from_unfinished()
        offer = feed.check()
        if offer is None:
            return None
        verdict = self._consider(offer)
        if verdict in (Verdict.TAKE, Verdict.UNDER_WAY):
            self._download(feed, offer)
            self._install(offer)
            self._try_out()
            self._go_live(hot=offer.manifest.delivery.hot_update and not self._rules.cold)
        return verdict

    def watch(self) -> None:
        """Looks after the model that is on probation: confirms it, sends it back, or waits.

        Raises:
            StorageError: the outcome could not be written down; it is tried again.
        """
        probation = self._probation
        if self._given_up is not None:
            self._give_up(*self._given_up)
        elif self._rescued:
            self._give_up(Kind.QUARANTINED, self._rescued)
        elif probation is not None and self.state.phase is Phase.LIVE:
            self._live.keep(self._shelf.folder(self.state.last_confirmed.key))
            vitals = self._live.vitals()
            if probation.wants_opinion(vitals):
                with contextlib.suppress(ModelError):  # the old one's troubles are not the new one's
                    probation.opinions += filter(None, [self._live.opinion()])
            outcome = probation.judge(self._clock.monotonic(), vitals)
            if outcome is not Outcome.FAILED and probation.wants_golden(passing=outcome is Outcome.PASSED):
                probation.reason = "; ".join(self._live.golden_problems())
            if probation.reason:
                self._give_up(Kind.QUARANTINED, f"on probation: {probation.reason}")
            elif outcome is Outcome.PASSED:
                self._confirm()

    def rescue(self, error: ModelError) -> bool:
        """The live model fails on frame after frame: lets the one before it serve. From the pipeline's threads.

        Returns:
            False when there is none to go back to.
        """
        with self._lock:
            if self._probation is None or not self._live.back():
                return False
            # Written down by the updater's own thread; a crash before that is one on probation, and goes back too.
            self._rescued = f"on probation: {error}"
            return True

    def roll_back(self, leaving: str = "") -> ModelRef:
        """An operator wants the model before the current one; the current one goes into quarantine.

        Args:
            leaving: key of the model that the operator saw serving. Where another one serves by now, nothing is done,
                so that a request which a crash left behind is not obeyed twice.

        Raises:
            RefusedError: there is none. ModelError: it cannot serve any more. StorageError: it cannot be written down.
        """
        reason = "rolled back by the operator"
        if leaving and leaving != self.state.current.key:
            return self.state.current
        if self.state.phase is Phase.LIVE:
            self._give_up(Kind.QUARANTINED, reason)
            return self.state.current
        if len(self.state.history) == 1:
            raise RefusedError("there is no earlier model to go back to")
        self._live.load(self._shelf.folder(self.state.history[1].key))
        self._book.note(Kind.ROLLED_BACK, reason=reason)
        self._live.swap()
        self._live.settle()
        self._count("rolled_back")
        return self.state.current

    def unquarantine(self, digest: str) -> int:
        """An operator lets a model be tried again; returns how many refusals that lifts.

        Raises:
            RefusedError: none. StorageError: it cannot be written down.
        """
        before = len(self.state.quarantined)
        if not any(digest in (one.model.sha256, one.model.key) for one in self.state.quarantined):
            raise RefusedError(f"{digest}: no model of that digest is in quarantine")
        self._book.note(Kind.UNQUARANTINED, digest=digest)
        return before - len(self.state.quarantined)

    def say_goodbye(self) -> None:
        """The agent ends as it should: a model on probation begins it again with the next start.

        Raises:
            StorageError: it cannot be written down.
        """
        if self.state.phase is Phase.LIVE and not self._rescued and self._given_up is None:
            self._book.note(Kind.STOPPED)

    def _consider(self, offer: ModelOffer) -> Verdict:
        model = ModelRef(
            offer.key, offer.manifest.model.sha256, offer.manifest.release, self._rules.job, offer.manifest.name
        )
        verdict = judge(self.state, model)
        if verdict is Verdict.QUARANTINED and offer.anew:
            self._book.note(Kind.UNQUARANTINED, digest=model.sha256)
            verdict = judge(self.state, model)
        if verdict is Verdict.TAKE:
            _log.info("models: a new one is offered", sha256=model.sha256, release=model.release)
            self._book.note(Kind.OFFERED, model=model)
        elif verdict is not Verdict.UNDER_WAY and self.state.candidate is not None:
            self._book.note(Kind.DROPPED, reason=f"the channel offers another one: {verdict.value}")
        return verdict

    def _download(self, feed: ModelFeed, offer: ModelOffer) -> None:
        if self.state.phase is not Phase.METADATA:
            return
        self._book.note(Kind.DOWNLOADING)
        with self._interruptible():
            for wanted in _files(offer):
                if self._shelf.find(wanted) is None:
                    feed.fetch(wanted, self._shelf.download(wanted))
            self._book.note(Kind.VERIFIED)

    def _install(self, offer: ModelOffer) -> None:
        if self.state.phase is not Phase.VERIFIED:
            return
        with self._interruptible():
            files = {wanted.name: self._shelf.find(wanted) or self._shelf.download(wanted) for wanted in _files(offer)}
            self._shelf.install(offer.content, offer.manifest, files)
            self._book.note(Kind.INSTALLED)

    def _try_out(self) -> None:
        if self.state.phase is not Phase.INSTALLED or self.state.candidate is None:
            return
        candidate, current = (self._shelf.folder(model.key) for model in (self.state.candidate, self.state.current))
        self._book.note(Kind.PROBING)
        with self._interruptible():
            report = self._probe.run(candidate, current)
            if report.problems:
                self._refuse("; ".join(report.problems))

    def _go_live(self, *, hot: bool) -> None:
        if self.state.phase is not Phase.PROBING or self.state.candidate is None:
            return
        if not hot:
            self._book.note(Kind.WAITING)
            _log.info("models: the new one waits for the agent's next start", sha256=self.state.candidate.sha256)
            return
        key = self.state.candidate.key
        with self._interruptible():
            try:
                self._live.load(self._shelf.folder(key))
            except (ModelError, ConfigError) as error:
                self._refuse(str(error))
                return
            self._book.note(Kind.LIVE)
        with self._lock:
            self._begin_probation()
            self._live.swap()
        _log.info("models: the new one serves, on probation", sha256=self.state.current.sha256)
        self._count("taken")

    def _begin_probation(self) -> None:
        rules = self._rules
        self._rescued = ""
        self._probation = Probation(
            self._clock.monotonic(),
            self._live.vitals(),
            rules.probation_seconds,
            rules.probation_frames,
            rules.max_latency_ratio,
        )

    def _confirm(self) -> None:
        with self._lock:
            if self._rescued:
                return
            self._book.note(Kind.CONFIRMED)
            self._probation = None
        self._live.settle()
        _log.info("models: the new one is confirmed", sha256=self.state.current.sha256)
        self._count("confirmed")
        self._clean()

    def _give_up(self, kind: Kind, reason: str) -> None:
        """Back to the last confirmed model. It serves first: a crash before the line is written goes back as well."""
        self._given_up = (kind, reason)
        with self._lock:
            if not self._rescued:
                self._live.keep(self._shelf.folder(self.state.last_confirmed.key))
                self._live.back()
            self._book.note(kind, reason=reason)
            self._probation, self._given_up, self._rescued = None, None, ""
        self._live.settle()
        _log.error("models: went back to the last confirmed one", sha256=self.state.current.sha256, reason=reason)
        self._count("rolled_back")
        self._count("quarantined")
        self._clean()

    def _refuse(self, reason: str) -> None:
        candidate = self.state.candidate
        self._book.note(Kind.QUARANTINED, reason=reason)
        _log.error("models: the new one is refused", sha256=candidate.sha256 if candidate else "", reason=reason)
        self._count("quarantined")
        self._clean()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Around what the surroundings may spoil: the candidate goes back to where it can start again."""
        try:
            yield
        except (UpdateError, StorageError, OSError, MemoryError) as error:
            if self.state.phase in _UNFINISHED:
                self._book.note(Kind.INTERRUPTED, reason=str(error) or type(error).__name__)
            raise

    def _step_back_from_unfinished(self) -> None:
        if self.state.phase in _UNFINISHED:
            self._book.note(Kind.INTERRUPTED, reason="the step before failed")

    def _clean(self) -> None:
        try:
            self._book.clean()
        except StorageError as error:
            _log.warning("models: old ones could not be removed", reason=str(error))

    def _count(self, what: str) -> None:
        self.counts[what] += 1


def _files(offer: ModelOffer) -> list[FileReference]:
    return [*(frame.picture for frame in offer.manifest.golden), offer.manifest.model]
