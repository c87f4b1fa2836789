# SPDX-License-Identifier: Apache-2.0
"""The state machine of a job: Sedna's stages and steps, as a function from state and event to state and effects.

::

    Train/Waiting -> Ready -> Starting -> Running -> Completed
      -> Eval/Waiting -> Ready -> Starting -> Running -> Completed
        -> Deploy/Waiting -> Ready -> Running -> Completed -> Train/Waiting

A worker that fails is started again under a new name until the attempts are used up; then the stage is Failed, the
round is over, and the job is Train/Waiting again. What to do next follows from the state alone (``due``): whoever keeps
the state before acting and acts again after a crash loses nothing and does nothing twice that matters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from helmet_cloud.core.worker_outcome import Outcome

Stage = Literal["Train", "Eval", "Deploy"]
Step = Literal["Waiting", "Ready", "Starting", "Running", "Completed", "Failed"]
Due = Literal["trigger", "prepare", "start", "watch", "judge", "publish"]
Ending = Literal["accepted", "refused", "failed", "cancelled"]

LOSSES_BORNE = 20
"""Restarts of the hub under one stage that cost no attempt: more, and the worker may be what brings the hub down."""


@dataclass(frozen=True, slots=True)
class JobState:
    """Where a job stands.

    Attributes:
        stage, step: Sedna's; only ``Waiting``, ``Ready``, ``Starting`` and ``Running`` last.
        round: number of the round under way, or of the last one; 0 before the first.
        attempt: how often the present stage's worker was started, the present start included.
        lost: how often a restart of the hub ended the present stage's worker.
        worker: its name, from the moment it may have been started.
        results: what the present stage starts from: the train worker's report in Eval, the eval worker's in Deploy.
        model_url: the train worker's output, from Eval on.
    """

    stage: Stage = "Train"
    step: Step = "Waiting"
    round: int = 0
    attempt: int = 0
    lost: int = 0
    worker: str | None = None
    results: tuple[dict[str, Any], ...] = ()
    model_url: str | None = None

    @property
    def in_round(self) -> bool:
        """Whether a round is under way."""
        return (self.stage, self.step) != ("Train", "Waiting")


@dataclass(frozen=True, slots=True)
class Triggered:
    """The training trigger fired and the round's samples are chosen."""

    round: int
    message: str


@dataclass(frozen=True, slots=True)
class Named:
    """The stage's inputs lie ready, and its worker has a name."""

    worker: str


@dataclass(frozen=True, slots=True)
class Started:
    """The worker was started, perhaps by the hub before a restart."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker's outcome is ``succeeded``, ``failed`` or ``lost``."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Judged:
    """The gate decided."""

    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Published:
    """The model is in the channel."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Somebody cancelled the round, or it cannot be finished."""

    ending: Literal["failed", "cancelled"]
    reason: str


Event = Triggered | Named | Started | Ended | Judged | Published | Abandoned


@dataclass(frozen=True, slots=True)
class Transition:
    """One of Sedna's conditions, as it came about."""

    stage: Stage
    step: Step
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StopWorker:
    """End this worker; it is not waited for any more."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class CloseRound:
    """The round is over. ``accepted`` uses its samples up; otherwise they stay pending."""

    round: int
    ending: Ending
    reason: str


Effect = StopWorker | CloseRound


@dataclass(frozen=True, slots=True)
class Move:
    """What an event led to.

    Attributes:
        state: the new one.
        transitions: in order, for the job's conditions; empty when the event changed nothing.
        effects: to be done: the round's closing in the same transaction that keeps the state.
    """

    state: JobState
    transitions: tuple[Transition, ...] = ()
    effects: tuple[Effect, ...] = ()


def due(state: JobState) -> Due:
    """What is to be done in a state; doing it again after a crash is harmless."""
    match state.stage, state.step:
        case "Train", "Waiting":
            return "trigger"
        case "Deploy", "Waiting":
            return "judge"
        case "Deploy", _:
            return "publish"
        case _, "Starting":
            return "start"
        case _, "Running":
            return "watch"
    return "prepare"


def advance(state: JobState, event: Event, attempts: int) -> Move:  # noqa: PLR0911 - one a kind of event
    """The next state.

    An event that does not belong to the state changes nothing: it is an echo of something that is over.

    Args:
        state: the present one.
        event: what happened.
        attempts: how often a stage is tried, at least 1.
    """
    match event:
        case Triggered() if due(state) == "trigger":
            fresh = JobState(step="Ready", round=event.round)
            return Move(fresh, (Transition("Train", "Ready", "Triggered", event.message),))
        case Named() if due(state) == "prepare":
            named = replace(state, step="Starting", attempt=state.attempt + 1, worker=event.worker)
            return Move(named, (_seen(named, "WorkerCreated", f"{event.worker} is being started"),))
        case Started() if due(state) == "start":
            running = replace(state, step="Running")
            return Move(running, (_seen(running, "WorkerStarted", f"{state.worker} runs (attempt {state.attempt})"),))
        case Ended() if due(state) in {"start", "watch"}:
            return _ended(state, event.outcome, attempts)
        case Judged() if due(state) == "judge":
            return _judged(state, event)
        case Published() if due(state) == "publish":
            return _over(state, "Completed", "Deployed", event.reason, "accepted")
        case Abandoned() if state.in_round:
            return _abandoned(state, event)
    return Move(state)


def _ended(state: JobState, outcome: Outcome, attempts: int) -> Move:
    if outcome.verdict == "succeeded":
        return _next_stage(state, outcome)
    line = f"{state.worker}: {outcome.reason}"
    if outcome.verdict == "lost" and state.lost < LOSSES_BORNE:
        again = replace(state, step="Ready", attempt=state.attempt - 1, lost=state.lost + 1, worker=None)
        return Move(again, (_seen(again, "WorkerLost", f"{line}; it is started again"),))
    if state.attempt < attempts:
        again = replace(state, step="Ready", worker=None)
        left = f"attempt {state.attempt} of {attempts}; it is started again"
        return Move(again, (_seen(again, "WorkerFailed", f"{line} ({left})"),))
    return _over(state, "Failed", "WorkerFailed", f"{line} ({state.attempt} attempts, the last)", "failed")


def _next_stage(state: JobState, outcome: Outcome) -> Move:
    done = Transition(state.stage, "Completed", "WorkerCompleted", f"{state.worker} completed")
    if state.stage == "Train":
        url = outcome.results[0].get("url")
        following = JobState(
            "Eval", "Ready", state.round, results=outcome.results, model_url=url if isinstance(url, str) else None
        )
        return Move(following, (done, _seen(following, "TrainCompleted", f"round {state.round} is to be evaluated")))
    following = replace(state, stage="Deploy", step="Waiting", attempt=0, lost=0, worker=None, results=outcome.results)
    return Move(following, (done, _seen(following, "EvalCompleted", f"round {state.round} is before the gate")))


def _judged(state: JobState, event: Judged) -> Move:
    if not event.accepted:
        return _over(state, "Completed", "Refused", event.reason, "refused")
    ready = replace(state, step="Ready")
    return Move(ready, (_seen(ready, "Accepted", event.reason),))


def _abandoned(state: JobState, event: Abandoned) -> Move:
    reason = "Cancelled" if event.ending == "cancelled" else "RoundFailed"
    move = _over(state, "Failed", reason, event.reason, event.ending)
    if state.worker is None:
        return move
    return replace(move, effects=(StopWorker(state.worker, event.reason), *move.effects))


def _over(state: JobState, step: Step, reason: str, message: str, ending: Ending) -> Move:
    waiting = JobState(round=state.round)
    return Move(
        waiting,
        (
            Transition(state.stage, step, reason, message),
            _seen(waiting, "RoundOver", f"round {state.round} {ending}; waits for new samples"),
        ),
        (CloseRound(state.round, ending, message),),
    )


def _seen(state: JobState, reason: str, message: str) -> Transition:
    return Transition(state.stage, state.step, reason, message)
