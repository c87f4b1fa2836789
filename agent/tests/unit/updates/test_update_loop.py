# SPDX-License-Identifier: Apache-2.0
"""When the updater polls, what it answers to operators, and what it tells of itself."""

from __future__ import annotations

from typing import Any

import pytest

from helmet_agent.contract.node_report import MODEL_STATES
from helmet_agent.errors import UpdateError
from helmet_agent.ports import ModelRequest
from helmet_agent.services.update_loop import FIRST_POLL_SECONDS, RETRY_CAP_SECONDS


def turns(node: Any, seconds: float) -> int:
    """Lets time pass in turns of a second; how many polls there were."""
    before = node.feed.checks
    for _ in range(round(seconds)):
        node.clock.advance(1.0)
        node.loop.turn()
    return int(node.feed.checks - before)


def test_polls_come_once_a_period(node: Any) -> None:
    turns(node, FIRST_POLL_SECONDS)
    assert turns(node, 600) == 10
    node.poll_seconds = 10.0
    turns(node, 60)
    assert turns(node, 600) == 600 / 10


def test_a_fleet_that_starts_at_once_does_not_poll_in_step(node: Any) -> None:
    moments = set()
    for number in range(20):
        one = type(node)()
        one.loop._random = lambda share=number / 20: share
        one.loop._next_poll = one.clock.monotonic()
        one.loop.turn()
        moments.add(one.loop._next_poll)
    assert len(moments) == 20
    assert min(moments) >= 0.9 * 60
    assert max(moments) <= 1.1 * 60


def test_faults_make_the_waits_longer_and_one_success_makes_them_short_again(node: Any) -> None:
    node.feed.check_fails = UpdateError("answered 503")
    first, later = turns(node, 60), turns(node, 4 * RETRY_CAP_SECONDS)
    assert first >= 3
    assert later <= 4 * RETRY_CAP_SECONDS / 200
    status = node.loop.status()
    assert status.last_error == "answered 503"
    assert status.faults_in_a_row == first + later
    assert status.checked_seconds is None
    node.feed.check_fails = None
    turns(node, RETRY_CAP_SECONDS)
    assert node.loop.status().last_error is None
    assert node.loop.status().faults_in_a_row == 0
    assert turns(node, 600) == 10


def test_a_period_of_a_second_still_backs_off(node: Any) -> None:
    node.poll_seconds = 1.0
    node.feed.check_fails = UpdateError("cannot be reached")
    turns(node, 60)
    assert turns(node, 600) < 20


def test_states_are_those_of_the_reports(node: Any, make_offer: Any) -> None:
    seen = [node.loop.status().state]
    node.feed.offer, node.feed.fetch_fails = make_offer(2), UpdateError("cut short")
    turns(node, 10)
    seen.append(node.loop.status().state)
    node.feed.fetch_fails, node.probe.fails = None, UpdateError("no process")
    turns(node, 120)
    seen.append(node.loop.status().state)
    node.probe.fails = None
    turns(node, 400)
    seen.append(node.loop.status().state)
    node.live.see(200)
    turns(node, 61)
    seen.append(node.loop.status().state)
    assert seen == ["idle", "downloading", "probing", "probation", "confirmed"]
    node.feed.offer = make_offer(3, hot=False)
    turns(node, 70)
    assert node.loop.status().state == "waiting_restart"
    assert {*seen, "waiting_restart"} == set(MODEL_STATES)


def test_the_reports_news_name_what_was_refused(node: Any, make_offer: Any) -> None:
    node.feed.offer, node.probe.problems = make_offer(2), ("too slow",)
    turns(node, 10)
    news = node.loop.news()
    assert (news.state, news.job, news.ring) == ("idle", "default/job", "stable")
    assert [(one.sha256, one.reason) for one in news.quarantined] == [(f"{2:064x}", "too slow")]
    assert node.loop.status().counters["quarantined"] == 1


def ask(node: Any, action: str, argument: str = "") -> tuple[str, str, bool]:
    node.shelf.asked.append(ModelRequest("1", action, argument))
    node.loop.turn()
    assert not node.shelf.asked
    answer: tuple[str, str, bool] = node.shelf.answers[-1]
    return answer


def test_requests_are_obeyed_and_answered(node: Any, make_offer: Any) -> None:
    assert ask(node, "rollback") == ("rollback", "there is no earlier model to go back to", False)
    second, third = node.confirm(2), node.confirm(3)
    assert ask(node, "rollback", third.key) == ("rollback", f"back to release 2, {2:064x}", True)
    assert node.live.serves == second.key
    assert ask(node, "unquarantine", f"{3:064x}") == ("unquarantine", "1 model may be tried again", True)
    assert node.live.serves == third.key, "what may be tried again is tried at once"
    assert not ask(node, "unquarantine", "f" * 64)[2]
    node.live.see(200)
    turns(node, 61)
    node.bundle.offer = make_offer(4)
    action, text, done = ask(node, "import", "0" * 16)
    assert (action, done) == ("import", True)
    assert "serves, on probation" in text
    assert ask(node, "import", "0" * 16)[1].startswith("a model is on probation")


@pytest.mark.parametrize(
    ("number", "problems", "reason"),
    [(None, (), "no model for the job"), (2, (), "older than"), (5, ("too big",), "refused: too big")],
)
def test_a_bundle_that_is_not_taken_is_told_why(
    node: Any, make_offer: Any, number: int | None, problems: tuple[str, ...], reason: str
) -> None:
    node.confirm(3)
    node.bundle.offer = None if number is None else make_offer(number)
    node.probe.problems = problems
    _, text, done = ask(node, "import", "0" * 16)
    assert not done
    assert reason in text


def test_stopping_as_asked_goes_on_with_the_probation_and_leaving_in_trouble_does_not(
    node: Any, make_offer: Any
) -> None:
    node.feed.offer = make_offer(2)
    turns(node, 10)
    node.loop.close(goodbye=True)
    assert node.feed.cancelled
    second = node.again()
    assert second.live.serves == node.feed.offer.key
    second.loop.close(goodbye=False)
    assert second.again().live.serves == node.base.key


def test_the_thread_outlives_what_nobody_foresaw(node: Any) -> None:
    node.feed.check_fails = ZeroDivisionError("a mistake of ours")
    node.clock.advance(100.0)
    node.loop.start()
    for _ in range(100):
        if node.loop.status().last_error:
            break
        node.loop._leaving.wait(0.05)
    assert node.loop.status().last_error == "a mistake of ours"
    assert node.loop._thread.is_alive()
    node.loop.close(goodbye=True)
    assert not node.loop._thread.is_alive()
