# SPDX-License-Identifier: Apache-2.0
"""The updater's state machine: what holds whatever happens, and what a restart makes of each place it can come to."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.services.update_events import Event, Kind, ModelRef
from helmet_agent.services.update_journal import replay, sum_line
from helmet_agent.services.update_state import (
    HISTORY,
    MAX_CRASHES,
    ImpossibleEventError,
    Phase,
    UpdateState,
    Verdict,
    after_restart,
    apply,
    fold,
    judge,
)

BASE = ModelRef("b" * 64, "b" * 64, 1, "", "base")
FIRST = UpdateState(current=BASE, history=(BASE,))
JOB = "default/job"


def model(number: int, release: int | None = None, sha256: str | None = None, job: str = JOB) -> ModelRef:
    key = f"{number:064x}"
    return ModelRef(key, sha256 or f"{number:064x}", release if release is not None else number, job)


def events(*kinds: Kind | tuple[Kind, ModelRef]) -> list[Event]:
    return [
        Event(kind[0], 1.0, kind[1]) if isinstance(kind, tuple) else Event(kind, 1.0, reason="as told")
        for kind in kinds
    ]


STEPS = (Kind.DOWNLOADING, Kind.VERIFIED, Kind.INSTALLED, Kind.PROBING)
LIVE = (*STEPS, Kind.LIVE)


def after(state: UpdateState, *kinds: Kind | tuple[Kind, ModelRef]) -> UpdateState:
    for event in events(*kinds):
        state = apply(state, event)
    return state


def test_a_good_model_goes_all_the_way() -> None:
    new = model(2)
    state = after(FIRST, (Kind.OFFERED, new), *LIVE)
    assert (state.phase, state.current, state.last_confirmed) == (Phase.LIVE, new, BASE)
    state = after(state, Kind.CONFIRMED)
    assert (state.phase, state.current, state.last_confirmed) == (Phase.IDLE, new, new)
    assert state.history == (new, BASE)
    assert judge(state, new) is Verdict.HAVE


def test_the_way_back_moves_only_when_a_model_is_confirmed() -> None:
    state = after(FIRST, (Kind.OFFERED, model(2)), *LIVE)
    assert state.last_confirmed == BASE
    state = after(state, Kind.QUARANTINED)
    assert state.current == state.last_confirmed == BASE


def test_a_refused_model_is_not_taken_until_somebody_says_so() -> None:
    bad = model(2)
    state = after(FIRST, (Kind.OFFERED, bad), *STEPS, Kind.QUARANTINED)
    assert judge(state, bad) is Verdict.QUARANTINED
    same_weights = model(9, release=9, sha256=bad.sha256)
    assert judge(state, same_weights) is Verdict.QUARANTINED
    state = apply(state, Event(Kind.UNQUARANTINED, 1.0, digest=bad.sha256))
    assert judge(state, same_weights) is Verdict.TAKE


def test_a_bad_manifest_of_weights_that_served_here_does_not_close_the_way_back_to_them() -> None:
    good = model(2)
    state = after(FIRST, (Kind.OFFERED, good), *LIVE, Kind.CONFIRMED)
    spoilt = model(3, release=3, sha256=good.sha256)
    state = after(state, (Kind.OFFERED, spoilt), *LIVE, Kind.QUARANTINED)
    assert judge(state, spoilt) is Verdict.QUARANTINED
    assert judge(state, model(4, release=4, sha256=good.sha256)) is Verdict.TAKE


def test_an_old_release_is_a_replay_and_an_old_digest_under_a_new_release_is_not() -> None:
    second, third = model(2), model(3)
    state = after(FIRST, (Kind.OFFERED, second), *LIVE, Kind.CONFIRMED, (Kind.OFFERED, third), *LIVE, Kind.CONFIRMED)
    assert judge(state, second) is Verdict.OLDER
    assert judge(state, model(7, release=3)) is Verdict.OLDER
    assert judge(state, model(8, release=4, sha256=second.sha256)) is Verdict.TAKE
    assert judge(state, model(9, release=1, job="default/other")) is Verdict.TAKE


def test_an_operators_way_back_leaves_the_channel_no_older_one_to_play() -> None:
    second, third = model(2), model(3)
    state = after(FIRST, (Kind.OFFERED, second), *LIVE, Kind.CONFIRMED, (Kind.OFFERED, third), *LIVE, Kind.CONFIRMED)
    state = after(state, Kind.ROLLED_BACK)
    assert state.current == state.last_confirmed == second
    assert judge(state, third) is Verdict.QUARANTINED
    assert judge(state, model(6, release=2)) is Verdict.OLDER
    state = apply(state, Event(Kind.UNQUARANTINED, 1.0, digest=third.sha256))
    assert judge(state, third) is Verdict.TAKE


def test_there_is_no_way_back_from_the_first_model() -> None:
    with pytest.raises(ImpossibleEventError, match="no earlier model"):
        after(FIRST, Kind.ROLLED_BACK)


def test_a_crash_on_probation_goes_back_by_itself_and_the_third_one_is_held_against_the_model() -> None:
    new = model(2)
    state = FIRST
    for crash in range(1, MAX_CRASHES + 1):
        state = after(state, (Kind.OFFERED, new), *LIVE)
        event = after_restart(state, 5.0)
        assert event is not None
        state = apply(state, event)
        assert state.current == BASE
        wanted = Verdict.TAKE if crash < MAX_CRASHES else Verdict.QUARANTINED
        assert judge(state, new) is wanted


def test_a_goodbye_on_probation_begins_it_again() -> None:
    state = after(FIRST, (Kind.OFFERED, model(2)), *LIVE, Kind.STOPPED)
    event = after_restart(state, 5.0)
    assert event is not None
    state = apply(state, event)
    assert (state.phase, state.current, state.stopped) == (Phase.LIVE, model(2), False)
    crashed = after_restart(state, 6.0)
    assert crashed is not None
    assert crashed.kind is Kind.RETURNED


def test_a_cold_model_is_taken_at_the_start() -> None:
    state = after(FIRST, (Kind.OFFERED, model(2)), *STEPS, Kind.WAITING)
    assert state.current == BASE
    event = after_restart(state, 5.0)
    assert event is not None
    assert apply(state, event).current == model(2)


MODELS = st.builds(
    model,
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([f"{digest:064x}" for digest in range(1, 4)]),
    st.sampled_from([JOB, "default/other"]),
)
DIGESTS = st.sampled_from([f"{digest:064x}" for digest in range(1, 4)])
KINDS = st.sampled_from(list(Kind))
SOME_EVENTS = st.builds(Event, KINDS, st.floats(0, 9), MODELS, st.just("because"), DIGESTS)
# Half of the lines push the machine forward, so that the far states are reached as well.
FORWARD = st.builds(
    lambda offered, rest: [Event(Kind.OFFERED, 1.0, offered), *events(*LIVE[:rest])], MODELS, st.integers(0, len(LIVE))
)
LIVES = st.lists(st.one_of(FORWARD, st.lists(SOME_EVENTS, max_size=3)), max_size=12).map(
    lambda parts: [event for part in parts for event in part]
)


def check(before: UpdateState, event: Event, state: UpdateState) -> None:
    """What holds after every event that can happen."""
    assert 1 <= len(state.history) <= HISTORY
    assert len({one.key for one in state.history}) == len(state.history)
    if state.phase is Phase.LIVE:
        assert state.current == state.candidate
    else:
        assert state.current == state.last_confirmed
        assert not state.stopped
    assert (state.candidate is None) == (state.phase is Phase.IDLE)
    if state.last_confirmed != before.last_confirmed:
        assert event.kind in (Kind.CONFIRMED, Kind.ROLLED_BACK, Kind.ADOPTED)
    for floor in before.floors:
        assert max(one.release for one in state.floors if one.job == floor.job) >= floor.release
    for refusal in before.quarantined:
        if event.kind is not Kind.UNQUARANTINED:
            assert any(one.covers(refusal.model) for one in state.quarantined)
            assert judge(state, refusal.model) is not Verdict.TAKE
    if state.candidate is not None and before.candidate is None:
        assert judge(before, state.candidate) is Verdict.TAKE


@settings(max_examples=300, deadline=None)
@given(LIVES)
def test_whatever_happens_what_serves_is_confirmed_or_on_probation(lines: list[Event]) -> None:
    state = FIRST
    for event in lines:
        try:
            following = apply(state, event)
        except ImpossibleEventError:
            continue
        check(state, event, following)
        state = following


@settings(max_examples=300, deadline=None)
@given(LIVES, st.integers(0, 60))
def test_a_crash_after_any_line_is_repaired_by_the_next_start(lines: list[Event], survived: int) -> None:
    written = [sum_line(FIRST), *(event.to_json() for event in lines[:survived])]
    state = replay([json.loads(json.dumps(line)) for line in written])
    assert state == fold(FIRST, lines[:survived])
    assert state is not None
    event = after_restart(state, 9.0)
    begun = state if event is None else apply(state, event)
    if state.phase is Phase.LIVE and not state.stopped:
        assert begun.current == state.last_confirmed
    assert begun.phase in (Phase.IDLE, Phase.METADATA, Phase.INSTALLED, Phase.LIVE)
    assert begun.last_confirmed == state.last_confirmed
    assert begun.floors == state.floors


@settings(max_examples=200, deadline=None)
@given(LIVES)
def test_the_sum_of_a_journal_reads_back_as_the_same_state(lines: list[Event]) -> None:
    state = fold(FIRST, lines)
    assert replay([json.loads(json.dumps(sum_line(state)))]) == state


@settings(max_examples=200, deadline=None)
@given(LIVES, st.integers(0, 40), st.sampled_from([{}, {"event": "nonsense"}, {"state": 3}, {"event": 5, "time": "x"}]))
def test_damaged_lines_are_passed_over(lines: list[Event], place: int, damaged: dict[str, object]) -> None:
    written = [sum_line(FIRST), *(event.to_json() for event in lines)]
    assert replay([*written[: place + 1], damaged, *written[place + 1 :]]) == fold(FIRST, lines)


def test_a_journal_without_a_beginning_tells_nothing() -> None:
    assert replay([]) is None
    assert replay([event.to_json() for event in events((Kind.OFFERED, model(2)))]) is None


def test_a_journal_of_impossible_states_tells_nothing() -> None:
    impossible = sum_line(dataclasses.replace(FIRST, phase=Phase.LIVE))
    assert replay([impossible]) is None
