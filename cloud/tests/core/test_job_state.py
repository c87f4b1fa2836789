# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from helmet_cloud.core.job_state import (
    LOSSES_BORNE,
    Abandoned,
    CloseRound,
    Ended,
    Event,
    JobState,
    Judged,
    Move,
    Named,
    Published,
    Started,
    StopWorker,
    Triggered,
    advance,
    due,
)
from helmet_cloud.core.worker_outcome import Observation, Outcome, Patience, judge_worker

ATTEMPTS = 3
RESULTS = ({"format": "tflite", "url": "/output/train/1", "metrics": {}},)
GOOD = Ended(Outcome("succeeded", "completed", RESULTS))
BAD = Ended(Outcome("failed", "it ended with exit code 1"))
LOST = Ended(Outcome("lost", "the hub was restarted while it ran"))


def follow(*events: Event, state: JobState | None = None) -> Move:
    move = Move(state or JobState())
    for event in events:
        move = advance(move.state, event, ATTEMPTS)
        assert move.transitions, f"{event} changed nothing"
    return move


TRAINED = (Triggered(1, "8 of 7 samples"), Named("w-train"), Started(), GOOD)
EVALUATED = (*TRAINED, Named("w-eval"), Started(), GOOD)


def test_a_round_in_the_order_of_sedna() -> None:
    assert due(JobState()) == "trigger"
    assert due(follow(*TRAINED).state) == "prepare"
    assert due(follow(*EVALUATED).state) == "judge"
    accepted = follow(*EVALUATED, Judged(accepted=True, reason="better"))
    assert due(accepted.state) == "publish"
    over = follow(Published("release 1"), state=accepted.state)
    assert over.state == JobState(round=1)
    assert over.effects == (CloseRound(1, "accepted", "release 1"),)
    assert [(one.stage, one.step) for one in over.transitions] == [("Deploy", "Completed"), ("Train", "Waiting")]


def test_a_refused_model_ends_the_round_and_uses_nothing_up() -> None:
    over = follow(*EVALUATED, Judged(accepted=False, reason="worse"))
    assert over.effects == (CloseRound(1, "refused", "worse"),)
    assert not over.state.in_round


@pytest.mark.parametrize("before", [(Triggered(1, "go"),), TRAINED])
def test_a_stage_is_tried_so_often_and_no_oftener(before: tuple[Event, ...]) -> None:
    move = follow(*before)
    for attempt in range(1, ATTEMPTS + 1):
        move = follow(Named(f"w{attempt}"), Started(), BAD, state=move.state)
    assert not move.state.in_round
    (effect,) = move.effects
    assert isinstance(effect, CloseRound)
    assert (effect.ending, effect.reason) == ("failed", "w3: it ended with exit code 1 (3 attempts, the last)")
    assert move.transitions[0].step == "Failed"


def test_a_worker_that_cannot_be_started_is_an_attempt_too() -> None:
    move = follow(Triggered(1, "go"), Named("w1"), BAD)
    assert (move.state.step, move.state.attempt) == ("Ready", 1)


def test_restarts_of_the_hub_cost_no_attempt_but_not_without_end() -> None:
    move = follow(Triggered(1, "go"))
    for number in range(LOSSES_BORNE):
        move = follow(Named(f"w{number}"), Started(), LOST, state=move.state)
        assert move.state.attempt == 0
    for number in range(ATTEMPTS):
        move = follow(Named(f"x{number}"), Started(), LOST, state=move.state)
    assert not move.state.in_round


def test_the_next_stage_has_its_own_attempts() -> None:
    move = follow(Triggered(1, "go"), Named("a"), Started(), BAD, Named("b"), Started(), GOOD)
    assert (move.state.stage, move.state.attempt, move.state.lost) == ("Eval", 0, 0)


def test_cancelling_ends_the_worker_that_runs() -> None:
    move = follow(Triggered(1, "go"), Named("w"), Started(), Abandoned("cancelled", "by hand"))
    assert move.effects == (StopWorker("w", "by hand"), CloseRound(1, "cancelled", "by hand"))


@pytest.mark.parametrize(
    "event", [Abandoned("cancelled", "x"), Published("x"), Judged(accepted=True, reason="x"), GOOD]
)
def test_an_echo_of_what_is_over_changes_nothing(event: Event) -> None:
    assert advance(JobState(round=4), event, ATTEMPTS) == Move(JobState(round=4))


class Life(RuleBasedStateMachine):
    """A job whose worker reports, exits and is lost in any order, with echoes of every event at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.state = JobState()
        self.opened: list[int] = []
        self.closed: list[tuple[int, str]] = []
        self.judged: dict[int, bool] = {}
        self.starts: dict[tuple[int, str], int] = {}
        self.losses: dict[tuple[int, str], int] = {}
        self.names = 0
        self.running = False
        self.known = True
        self.exit_code: int | None = None
        self.status: str | None = None
        self.age = 0.0

    def happen(self, event: Event) -> Move:
        before = self.state
        move = advance(before, event, ATTEMPTS)
        self.state = move.state
        if not move.transitions:
            assert move.state == before
            assert not move.effects
        for effect in move.effects:
            if isinstance(effect, CloseRound):
                self.closed.append((effect.round, effect.ending))
                if effect.ending == "accepted":
                    assert self.judged.get(effect.round) is True
        return move

    @rule()
    def trigger(self) -> None:
        if due(self.state) == "trigger":
            self.opened.append(self.state.round + 1)
        self.happen(Triggered(self.state.round + 1, "go"))

    @rule()
    def name(self) -> None:
        self.names += 1
        if self.happen(Named(f"w{self.names}")).transitions:
            key = (self.state.round, self.state.stage)
            self.starts[key] = self.starts.get(key, 0) + 1
            self.running, self.known, self.exit_code, self.status, self.age = True, True, None, None, 0.0

    @rule()
    def start(self) -> None:
        self.happen(Started())

    @rule(status=st.sampled_from(["completed", "failed", "running", "garbage"]))
    def report(self, status: str) -> None:
        self.status = status

    @rule(code=st.sampled_from([0, 0, 0, 1, -9]))
    def leave(self, code: int) -> None:
        if self.running:
            self.running, self.exit_code = False, code

    @rule()
    def hub_restarts(self) -> None:
        self.running, self.known, self.exit_code = False, False, None

    @rule()
    def time_passes(self) -> None:
        self.age += 40.0

    @rule()
    def look(self) -> None:
        if due(self.state) != "watch":
            return
        seen = Observation(
            self.known,
            self.running,
            self.exit_code,
            status=self.status,
            results=RESULTS,
            gone_seconds=0.0 if self.running else self.age,
            done_seconds=self.age,
            running_seconds=self.age,
        )
        outcome = judge_worker(seen, Patience(100.0))
        if outcome.verdict == "stop":
            self.running, self.exit_code = False, -15
        elif outcome.verdict != "pending":
            key = (self.state.round, self.state.stage)
            if outcome.verdict == "lost":
                self.losses[key] = self.losses.get(key, 0) + 1
            if outcome.verdict == "succeeded":
                assert self.status == "completed"
                assert not self.running
            self.happen(Ended(outcome))

    @rule(accepted=st.booleans())
    def judge(self, accepted: bool) -> None:
        if due(self.state) == "judge":
            self.judged[self.state.round] = accepted
        self.happen(Judged(accepted, "so"))

    @rule()
    def publish(self) -> None:
        self.happen(Published("out"))

    @rule()
    def cancel(self) -> None:
        self.happen(Abandoned("cancelled", "by hand"))

    @invariant()
    def every_round_ends_once_and_none_overlap(self) -> None:
        assert self.opened == list(range(1, len(self.opened) + 1))
        done = [number for number, _ in self.closed]
        assert done == self.opened[: len(done)]
        assert len(self.opened) - len(done) == (1 if self.state.in_round else 0)

    @invariant()
    def no_stage_is_tried_without_end(self) -> None:
        for key, count in self.starts.items():
            assert count <= ATTEMPTS + min(self.losses.get(key, 0), LOSSES_BORNE)

    @invariant()
    def there_is_always_something_due(self) -> None:
        assert due(self.state) in {"trigger", "prepare", "start", "watch", "judge", "publish"}
        assert (self.state.worker is not None) == (due(self.state) in {"start", "watch"})


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
