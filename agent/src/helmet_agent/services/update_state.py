# SPDX-License-Identifier: Apache-2.0
r"""The life of a new model on a node as a state machine over a journal; pure.

::

    idle -> metadata -> downloading -> verified -> installed -> probing -> live (probation) -> confirmed
                                                                   |  \-> waiting (cold)-^ |
                                                                   +---> quarantined <----+

Every step is an ``Event`` that is on the disk before it is acted upon; the state is nothing but the fold of all events.
"Confirmed" and "quarantined" are no places to stay in: both end in ``idle``, the first with the new model, the second
with the last confirmed one.

Two names matter to a restart: ``current``, what to serve, and ``last_confirmed``, what to go back to, which moves only
when a model is confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from helmet_agent.services.update_events import Event, Kind, ModelRef

if TYPE_CHECKING:
    from collections.abc import Iterable

HISTORY = 3
"""So many confirmed models are remembered, and kept on the disk: the last one and two to go back to."""

MAX_CRASHES = 3
"""So often the agent may end without a goodbye while a model is on probation before the model is held responsible; a
power cut is no fault of the model, three in its first minutes are."""

MAX_QUARANTINED = 64


class Phase(StrEnum):
    """Where a candidate is."""

    IDLE = "idle"
    METADATA = "metadata"
    DOWNLOADING = "downloading"
    VERIFIED = "verified"
    INSTALLED = "installed"
    PROBING = "probing"
    WAITING = "waiting"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A model in quarantine.

    Attributes:
        model: which one.
        reason: one line.
        time_seconds: when, Unix time.
        manifest_only: the weights have served here before, so only this manifest is refused.
    """

    model: ModelRef
    reason: str
    time_seconds: float
    manifest_only: bool

    def covers(self, model: ModelRef) -> bool:
        """Whether a model is the one refused."""
        return self.model.key == model.key or (not self.manifest_only and self.model.sha256 == model.sha256)


@dataclass(frozen=True, slots=True)
class UpdateState:
    """What the journal adds up to.

    Attributes:
        current: what serves, or has to serve after a restart.
        history: confirmed models, the newest first; never empty.
        phase: where the candidate is.
        candidate: the new model on its way; it is ``current`` too while it is live.
        stopped: whether the agent said goodbye while the candidate was live.
        floors: the newest confirmed model of each job; nothing older is taken from its channel.
        crashes: how often the agent ended without a goodbye while a model was on probation, by key.
        quarantined: refused models, the newest first.
    """

    current: ModelRef
    history: tuple[ModelRef, ...]
    phase: Phase = Phase.IDLE
    candidate: ModelRef | None = None
    stopped: bool = False
    floors: tuple[ModelRef, ...] = ()
    crashes: tuple[tuple[str, int], ...] = ()
    quarantined: tuple[Refusal, ...] = ()

    @property
    def last_confirmed(self) -> ModelRef:
        """What to go back to."""
        return self.history[0]

    @property
    def kept(self) -> frozenset[str]:
        """Keys of the models that must stay on the disk."""
        candidate = () if self.candidate is None else (self.candidate.key,)
        return frozenset((self.current.key, *candidate, *(model.key for model in self.history)))


class ImpossibleEventError(ValueError):
    """The event cannot happen in this state."""


class Verdict(StrEnum):
    """What to do about a model that is offered."""

    TAKE = "take it"
    HAVE = "it is the current one"
    UNDER_WAY = "it is on its way already"
    OLDER = "it is older than what was confirmed before"
    QUARANTINED = "it is in quarantine"


def judge(state: UpdateState, offered: ModelRef) -> Verdict:
    """Whether an offered model may be taken.

    A release number never goes back: below the job's newest confirmed one is a replay, and so is the same number with
    another manifest. An old digest under a higher release is the publisher's way back and fine.
    """
    if offered.key == state.current.key:
        return Verdict.HAVE
    if any(refusal.covers(offered) for refusal in state.quarantined):
        return Verdict.QUARANTINED
    floor = next((model for model in state.floors if model.job == offered.job), None)
    if floor is not None and offered.release <= floor.release and offered.key != floor.key:
        return Verdict.OLDER
    if state.candidate is not None and state.candidate.key == offered.key:
        return Verdict.UNDER_WAY
    return Verdict.TAKE


_BEFORE_LIVE = (Phase.METADATA, Phase.DOWNLOADING, Phase.VERIFIED, Phase.INSTALLED, Phase.PROBING, Phase.WAITING)
_STEPS: dict[Kind, tuple[tuple[Phase, ...], Phase]] = {
    Kind.DOWNLOADING: ((Phase.METADATA,), Phase.DOWNLOADING),
    Kind.VERIFIED: ((Phase.DOWNLOADING,), Phase.VERIFIED),
    Kind.INSTALLED: ((Phase.VERIFIED,), Phase.INSTALLED),
    Kind.PROBING: ((Phase.INSTALLED,), Phase.PROBING),
    Kind.WAITING: ((Phase.PROBING,), Phase.WAITING),
}


def apply(state: UpdateState, event: Event) -> UpdateState:
    """The state after an event.

    Raises:
        ImpossibleEventError: it cannot happen in this state.
    """
    if event.kind in _STEPS:
        allowed, after = _STEPS[event.kind]
        _require(state, event, *allowed)
        return replace(state, phase=after)
    return _OTHERS[event.kind](state, event)


def fold(first: UpdateState, events: Iterable[Event]) -> UpdateState:
    """The state after many events; those that cannot have happened are passed over, since a journal may be damaged."""
    state = first
    for event in events:
        try:
            state = apply(state, event)
        except ImpossibleEventError:
            continue
    return state


def after_restart(state: UpdateState, now: float) -> Event | None:
    """What the start of the agent means to a state that the last life left behind; None: nothing.

    A model that was on probation when the agent crashed is given up by itself; one that the agent left with a goodbye
    begins its probation again. A cold model is taken now. Whatever had not come so far starts its step again.
    """
    if state.phase is Phase.LIVE and state.stopped:
        return Event(Kind.LIVE, now, reason="probation begins again with the agent")
    if state.phase is Phase.LIVE:
        crashes = 1 + dict(state.crashes).get(state.current.key, 0)
        if crashes >= MAX_CRASHES:
            return Event(
                Kind.QUARANTINED, now, reason=f"the agent ended {crashes} times while the model was on probation"
            )
        return Event(Kind.RETURNED, now, reason="the agent ended while the model was on probation")
    if state.phase is Phase.WAITING:
        return Event(Kind.LIVE, now, reason="taken at the agent's start")
    if state.phase in (Phase.PROBING, Phase.DOWNLOADING, Phase.VERIFIED):
        return Event(Kind.INTERRUPTED, now, reason="the agent ended meanwhile")
    return None


def _offered(state: UpdateState, event: Event) -> UpdateState:
    _require(state, event, Phase.IDLE, *_BEFORE_LIVE)
    model = _model(event)
    if judge(state, model) is not Verdict.TAKE:
        raise ImpossibleEventError(f"{model.sha256} cannot be offered: {judge(state, model)}")
    return replace(state, phase=Phase.METADATA, candidate=model)


def _interrupted(state: UpdateState, event: Event) -> UpdateState:
    """The surroundings got in the way: back to the last place that holds."""
    _require(state, event, Phase.DOWNLOADING, Phase.VERIFIED, Phase.INSTALLED, Phase.PROBING)
    return replace(state, phase=Phase.INSTALLED if state.phase is Phase.PROBING else Phase.METADATA)


def _live(state: UpdateState, event: Event) -> UpdateState:
    _require(state, event, Phase.PROBING, Phase.WAITING, Phase.LIVE)
    return replace(state, phase=Phase.LIVE, current=_candidate(state), stopped=False)


def _stopped(state: UpdateState, event: Event) -> UpdateState:
    _require(state, event, Phase.LIVE)
    return replace(state, stopped=True)


def _confirmed(state: UpdateState, event: Event) -> UpdateState:
    _require(state, event, Phase.LIVE)
    new = state.current
    older = tuple(model for model in state.history if model.key != new.key)
    floors = (new, *(model for model in state.floors if model.job != new.job)) if new.job else state.floors
    return replace(
        state,
        phase=Phase.IDLE,
        candidate=None,
        stopped=False,
        history=(new, *older)[:HISTORY],
        floors=floors,
        crashes=tuple(entry for entry in state.crashes if entry[0] != new.key),
    )


def _returned(state: UpdateState, event: Event) -> UpdateState:
    _require(state, event, Phase.LIVE)
    key = state.current.key
    crashes = dict(state.crashes)
    crashes[key] = 1 + crashes.get(key, 0)
    return replace(_back(state), crashes=tuple(crashes.items())[-HISTORY:])


def _quarantined(state: UpdateState, event: Event) -> UpdateState:
    _require(state, event, *_BEFORE_LIVE, Phase.LIVE)
    return _refuse(_back(state), _candidate(state), event)


def _dropped(state: UpdateState, event: Event) -> UpdateState:
    _require(state, event, *_BEFORE_LIVE)
    return replace(state, phase=Phase.IDLE, candidate=None)


def _rolled_back(state: UpdateState, event: Event) -> UpdateState:
    _require(state, event, Phase.IDLE, *_BEFORE_LIVE)
    if len(state.history) == 1:
        raise ImpossibleEventError("there is no earlier model to go back to")
    left, history = state.history[0], state.history[1:]
    gone = replace(state, phase=Phase.IDLE, candidate=None, current=history[0], history=history)
    return _refuse(gone, left, event)


def _unquarantined(state: UpdateState, event: Event) -> UpdateState:
    left = tuple(one for one in state.quarantined if event.digest not in (one.model.sha256, one.model.key))
    return replace(state, quarantined=left)


def _adopted(state: UpdateState, event: Event) -> UpdateState:
    """A model from this machine takes over: another one comes with the agent now, or the one confirmed is damaged."""
    model = _model(event)
    older = tuple(one for one in state.history if one.key != model.key)
    return replace(
        state, phase=Phase.IDLE, candidate=None, stopped=False, current=model, history=(model, *older)[:HISTORY]
    )


def _back(state: UpdateState) -> UpdateState:
    return replace(state, phase=Phase.IDLE, candidate=None, stopped=False, current=state.last_confirmed)


def _refuse(state: UpdateState, model: ModelRef, event: Event) -> UpdateState:
    known = any(one.sha256 == model.sha256 for one in state.history)
    refusal = Refusal(model, event.reason, event.time_seconds, manifest_only=known)
    others = tuple(one for one in state.quarantined if one.model.key != model.key)
    return replace(
        state,
        quarantined=(refusal, *others)[:MAX_QUARANTINED],
        crashes=tuple(entry for entry in state.crashes if entry[0] != model.key),
    )


def _require(state: UpdateState, event: Event, *phases: Phase) -> None:
    if state.phase not in phases:
        raise ImpossibleEventError(f"{event.kind} cannot happen while {state.phase}")


def _candidate(state: UpdateState) -> ModelRef:
    if state.candidate is None:
        raise ImpossibleEventError(f"{state.phase} without a candidate")
    return state.candidate


def _model(event: Event) -> ModelRef:
    if event.model is None:
        raise ImpossibleEventError(f"{event.kind} names no model")
    return event.model


_OTHERS = {
    Kind.OFFERED: _offered,
    Kind.INTERRUPTED: _interrupted,
    Kind.LIVE: _live,
    Kind.STOPPED: _stopped,
    Kind.CONFIRMED: _confirmed,
    Kind.RETURNED: _returned,
    Kind.QUARANTINED: _quarantined,
    Kind.DROPPED: _dropped,
    Kind.ROLLED_BACK: _rolled_back,
    Kind.UNQUARANTINED: _unquarantined,
    Kind.ADOPTED: _adopted,
}
