# SPDX-License-Identifier: Apache-2.0
"""The mailbox: latest wins for live lanes, nothing lost for the others, everybody's turn comes."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.services.mailbox import Mailbox


def test_the_latest_post_wins_and_the_old_one_comes_back() -> None:
    box: Mailbox[str] = Mailbox(1)
    assert box.post(0, "old") is None
    assert box.post(0, "new") == "old"
    assert box.take(0) == (0, "new")
    assert box.take(0) is None


def test_a_full_lane_makes_its_sender_wait() -> None:
    box: Mailbox[int] = Mailbox(1, room=2)
    assert box.hand_over(0, 1, 0)
    assert box.hand_over(0, 2, 0)
    assert not box.hand_over(0, 3, 0.01)
    assert box.take(0) == (0, 1)
    assert box.hand_over(0, 3, 0)
    assert [box.take(0), box.take(0)] == [(0, 2), (0, 3)]


def test_lanes_take_turns_however_much_one_sends() -> None:
    box: Mailbox[str] = Mailbox(3)
    taken = []
    for _ in range(6):
        box.hand_over(0, "busy", 0)
        box.post(2, "calm")
        found = box.take(0)
        assert found is not None
        taken.append(found[0])
    assert taken == [0, 2, 0, 2, 0, 2]


def test_take_wakes_for_a_post_and_says_that_it_waits() -> None:
    box: Mailbox[str] = Mailbox(1)
    assert not box.waiting

    def send_once_awaited() -> None:
        while not box.waiting:
            time.sleep(0.001)
        box.post(0, "x")

    sender = threading.Thread(target=send_once_awaited)
    sender.start()
    assert box.take(10) == (0, "x")
    sender.join()
    assert not box.waiting


def test_take_returns_at_once_when_all_lanes_are_finished() -> None:
    box: Mailbox[str] = Mailbox(2)
    box.hand_over(0, "last", 0)
    box.finish(0)
    assert not box.finished
    box.finish(1)
    assert not box.finished  # something still lies there
    assert box.take(60) == (0, "last")
    assert box.finished
    assert box.take(60) is None


def test_close_wakes_sender_and_receiver() -> None:
    box: Mailbox[int] = Mailbox(2, room=1)
    box.hand_over(0, 1, 0)
    answers: list[object] = []
    sender = threading.Thread(target=lambda: answers.append(box.hand_over(0, 2, 60)))
    sender.start()
    box.close()
    sender.join(10)
    assert answers == [False]
    assert box.take(60) is None
    assert box.post(1, 5) == 5


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60))
def test_handed_over_items_keep_their_order_and_number(moves: list[tuple[int, bool]]) -> None:
    box: Mailbox[int] = Mailbox(3, room=2)
    sent: list[list[int]] = [[], [], []]
    taken: list[list[int]] = [[], [], []]
    for number, (lane, send) in enumerate(moves):
        if send:
            if box.hand_over(lane, number, 0):
                sent[lane].append(number)
        elif (found := box.take(0)) is not None:
            taken[found[0]].append(found[1])
    while (found := box.take(0)) is not None:
        taken[found[0]].append(found[1])
    assert taken == sent
