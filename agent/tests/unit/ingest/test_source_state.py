# SPDX-License-Identifier: Apache-2.0
"""The life of a source, played without threads or time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.retry import Backoff
from helmet_agent.services.ingest import RECONNECT_CAP_SECONDS, RECONNECT_FACTOR, RECONNECT_INITIAL_SECONDS
from helmet_agent.services.source_state import Act, SourceState, State, Step


def camera(*, give_up_unseen: bool = False) -> SourceState:
    return SourceState(
        live=True, stall_seconds=3, backoff=Backoff(0.1, 1, 2, lambda: 0.5), give_up_unseen=give_up_unseen
    )


def streaming(now: float = 0.0) -> SourceState:
    state = camera()
    state.opened(now)
    state.frame(now)
    return state


def test_it_opens_first_and_then_reads() -> None:
    state = camera()
    assert state.state is State.CONNECTING
    assert state.next(0) == Step(Act.OPEN)
    state.opened(1)
    assert state.next(1) == Step(Act.READ)
    assert state.state is State.STREAMING


def test_a_steady_stream_that_is_lost_is_opened_again_at_once() -> None:
    state = streaming(0)
    state.frame(5)
    state.lost(6, "hung up")
    assert state.next(6) == Step(Act.OPEN)
    assert state.last_error == "hung up"


def test_further_attempts_wait_longer_up_to_the_cap() -> None:
    state = streaming(0)
    state.frame(5)
    now, waits = 6.0, []
    state.lost(now, "hung up")
    for _ in range(7):
        assert state.next(now).act is Act.OPEN
        state.lost(now, "refused")
        step = state.next(now)
        assert step.act is Act.WAIT
        waits.append(round(step.wait_seconds, 6))
        now += step.wait_seconds
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5, 0.5]


def test_the_agents_own_backoff_tries_every_second_however_long_a_camera_was_away() -> None:
    """Within 3 s of its return: up to 1 s of waiting, 1.5 s of an attempt that began too early, and the connection."""
    backoff = Backoff(RECONNECT_INITIAL_SECONDS, RECONNECT_CAP_SECONDS, RECONNECT_FACTOR, lambda: 0.999)
    state = SourceState(live=True, stall_seconds=3, backoff=backoff)
    now = 0.0
    for _ in range(1000):
        state.lost(now, "refused")
        wait = state.next(now).wait_seconds
        assert 0 < wait <= 1.0
        now += wait
    assert now > 900


def test_a_camera_that_dies_after_each_first_frame_is_not_hammered() -> None:
    state, now, waits = camera(), 0.0, []
    for _ in range(6):
        state.opened(now)
        state.frame(now)
        state.lost(now + 0.1, "hung up")
        waits.append(state.next(now + 0.1).wait_seconds)
        now += 10
    assert [round(wait, 6) for wait in waits] == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


def test_waiting_shows_and_ends() -> None:
    state = camera()
    state.lost(0, "refused")
    assert state.next(0.01).act is Act.WAIT
    assert state.state is State.WAITING
    assert state.next(0.05).act is Act.OPEN
    assert state.state is State.CONNECTING


def test_reconnects_count_when_frames_come_again_not_when_it_opens() -> None:
    state = streaming(0)
    state.lost(10, "hung up")
    state.opened(12)
    assert state.reconnects == 0
    assert state.last_error == "hung up"
    assert state.frame(12.5) == 2.5
    assert state.reconnects == 1
    assert state.last_error is None
    assert state.frame(12.6) is None


def test_a_late_first_connection_is_no_reconnect() -> None:
    state = camera()
    state.lost(0, "refused")
    state.opened(5)
    assert state.frame(5) is None
    assert state.reconnects == 0


def test_a_stall_is_noticed_once() -> None:
    state = streaming(0)
    assert not state.stalled(2.9)
    assert state.stalled(3.0)
    assert not state.stalled(3.1)
    assert state.closed_for_stall
    assert state.stalls == 1
    state.lost(3.2, "closed")
    assert state.last_error == "no frame for 3 s"  # not what our own closing caused
    assert not state.stalled(60)


def test_an_opened_source_that_never_delivers_stalls_too() -> None:
    state = camera()
    state.opened(0)
    assert state.stalled(3)
    state.lost(3, "closed")
    state.opened(4)
    assert not state.stalled(5)
    assert state.stalled(7)
    assert state.stalls == 2


def test_files_do_not_stall() -> None:
    state = SourceState(live=False, stall_seconds=3, backoff=Backoff(1, 1, 1, lambda: 0.5))
    state.opened(0)
    assert not state.stalled(1000)


def test_a_file_that_fails_has_failed_for_good() -> None:
    state = SourceState(live=False, stall_seconds=3, backoff=Backoff(1, 1, 1, lambda: 0.5))
    state.lost(0, "no such file")
    assert state.state is State.FAILED
    assert state.next(1000) == Step(Act.STOP)
    assert state.last_error == "no such file"


def test_a_batch_run_gives_a_camera_up_that_was_never_seen() -> None:
    state = camera(give_up_unseen=True)
    state.lost(0, "refused")
    assert state.next(0).act is Act.STOP
    seen = camera(give_up_unseen=True)
    seen.opened(0)
    seen.frame(0)
    seen.lost(1, "hung up")
    assert seen.next(100).act is Act.OPEN


def test_the_end_is_the_end() -> None:
    state = streaming(0)
    state.ended()
    assert state.next(1).act is Act.STOP
    assert state.state is State.ENDED


@given(st.lists(st.tuples(st.sampled_from(["open", "frame", "lost"]), st.floats(0, 5)), max_size=60))
def test_a_live_source_is_never_left_alone_for_longer_than_the_cap(events: list[tuple[str, float]]) -> None:
    state, now = camera(), 0.0
    for event, gap in events:
        now += gap
        if event == "open":
            state.opened(now)
        elif event == "frame" and state.next(now).act is Act.READ:
            state.frame(now)
        elif event == "lost":
            state.lost(now, "x")
        step = state.next(now)
        assert step.act is not Act.STOP
        assert step.wait_seconds <= 1.0
        assert state.next(now + step.wait_seconds).act is not Act.WAIT
