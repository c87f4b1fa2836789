# SPDX-License-Identifier: Apache-2.0
"""The updater's state, kept so that a power cut at any point leaves it whole: first the journal, then the pointers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from helmet_agent.crash_points import nothing
from helmet_agent.errors import StorageError
from helmet_agent.services.update_events import Event, Kind
from helmet_agent.services.update_journal import replay, sum_line
from helmet_agent.services.update_state import Phase, UpdateState, after_restart, apply

if TYPE_CHECKING:
    from helmet_agent.crash_points import Reach
    from helmet_agent.ports import Clock, ModelShelf
    from helmet_agent.services.update_events import ModelRef

LONG_JOURNAL = 1000
"""Lines after which the journal is summed up in one."""

_log = structlog.get_logger(__name__)


class UpdateBook:
    """Holds the state; changes it by events only, each of them on the disk first. One thread at a time.

    Args:
        shelf: where journal, pointers and models are.
        base: the model that came with the agent or its configuration; installed.
        clock: time.
        reach: told the name of each crash point, just before it is passed.

    Raises:
        StorageError: the journal cannot be written.
    """

    def __init__(self, shelf: ModelShelf, base: ModelRef, clock: Clock, reach: Reach = nothing) -> None:
        self._shelf = shelf
        self._clock = clock
        self._reach = reach
        self.base = base
        lines = shelf.journal()
        self._lines = len(lines)
        state = replay(lines)
        if state is None:
            self.state = UpdateState(current=base, history=(base,))
            self._sum_up()
        else:
            self.state = state
        self._point()

    def note(self, kind: Kind, *, model: ModelRef | None = None, reason: str = "", digest: str = "") -> None:
        """Writes an event down, and then lets it be true.

        Raises:
            ImpossibleEventError: it cannot happen now; nothing was written.
            StorageError: it could not be written, and is not true.
        """
        self._note(Event(kind, self._clock.now(), model, reason, digest))

    def begin(self) -> None:
        """What the start of the agent means to the state that the last life left; then ``current`` is the one to serve.

        Raises:
            StorageError: it could not be written.
        """
        event = after_restart(self.state, self._clock.now())
        if event is not None:
            _log.info("models: after the restart", step=event.kind.value, reason=event.reason)
            self._note(event)
        served = self.state.last_confirmed
        if self.state.phase is Phase.IDLE and not served.job and served.key != self.base.key:
            self.note(Kind.ADOPTED, model=self.base, reason="another model comes with the agent or its configuration")
        self._settle_on_whole_models()

    def clean(self) -> None:
        """Removes the models that nothing can need any more, and downloads.

        Raises:
            StorageError: something could not be removed.
        """
        self._shelf.clean(self.state.kept | {self.base.key})

    def _settle_on_whole_models(self) -> None:
        """Goes from what is damaged on the disk to the next best that is whole; the base always is."""
        damage = self._shelf.damage(self.state.current.key)
        if damage is not None and self.state.phase is Phase.LIVE:
            self.note(Kind.RETURNED, reason=damage)
            damage = self._shelf.damage(self.state.current.key)
        if damage is not None:
            self.fall_back(damage)

    def fall_back(self, reason: str) -> None:
        """Gives the confirmed model up for one that is whole: an earlier one, else the base.

        Raises:
            StorageError: it could not be written.
        """
        bad = self.state.current.key
        rest = [model for model in (*self.state.history, self.base) if model.key != bad]
        whole = next((model for model in rest if self._shelf.damage(model.key) is None), self.base)
        _log.error("models: the current one cannot serve; going back", to=whole.sha256, reason=reason)
        self.note(Kind.ADOPTED, model=whole, reason=reason)

    def _note(self, event: Event) -> None:
        after = apply(self.state, event)
        self._reach(f"before {event.kind}")
        self._shelf.append(event.to_json())
        self._lines += 1
        self.state = after
        self._reach(f"after {event.kind}")
        self._point()
        self._reach(f"pointed {event.kind}")
        if self._lines > LONG_JOURNAL:
            self._sum_up()

    def _point(self) -> None:
        # The journal is what counts: a pointer that could not be moved is moved with the next event or start.
        try:
            self._shelf.point(self.state.current.key, self.state.last_confirmed.key)
        except StorageError as error:
            _log.warning("models: a pointer could not be moved; trying again later", reason=str(error))

    def _sum_up(self) -> None:
        self._shelf.rewrite(sum_line(self.state))
        self._lines = 1
