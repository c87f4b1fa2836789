# SPDX-License-Identifier: Apache-2.0
"""A model that is worse than the one before it leaves by itself, long before its probation is over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.services.probation import LEAST_SHARE, MIN_OBJECTS, MOST_SHARE, Opinion, Outcome, Probation, Vitals
from helmet_agent.services.update_state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.survive
WITHIN_SECONDS = 30.0
FRAMES_A_SECOND = 5


def golden(node: Any) -> None:
    node.live.golden = ("golden_a.jpg: no helmet at 1, 2, 3, 4",)


def same(_node: Any) -> None:
    pass


# What the old model says of a frame, what the pipeline counts, what else goes wrong, and what the operator reads.
WORSE: dict[str, tuple[Opinion, dict[str, Any], Callable[[Any], None], str]] = {
    "errors": (Opinion(1, 0.01, 1), {"failures": 1}, same, r"failed on 3 frames"),
    "latency": (Opinion(1, 0.01, 1), {"seconds": 0.03}, same, r"takes 30\.0 ms a frame"),
    "golden frames": (Opinion(1, 0.01, 1), {}, golden, r"no helmet at 1, 2, 3, 4"),
    "blind": (Opinion(2, 0.01, 0), {"detections": 0}, same, r"shows nothing in \d+ frames"),
    "fewer detections": (Opinion(3, 0.01, 1), {}, same, r"shows 10 objects on 10 frames .* shows 30"),
    "more detections": (Opinion(1, 0.01, 4), {}, same, r"shows 40 objects on 10 frames .* shows 10"),
}


@pytest.mark.parametrize("cause", list(WORSE))
def test_worse_means_rolled_back_within_half_a_minute(
    cause: str, node: Any, make_offer: Any, record_property: Callable[[str, object], None]
) -> None:
    opinion, seen, also, reason = WORSE[cause]
    node.feed.offer = make_offer(2)
    node.updater.update()
    assert node.live.serves == node.feed.offer.key
    node.live.opinion_of_old = opinion
    also(node)
    began = node.clock.monotonic()
    while node.updater.state.phase is Phase.LIVE:
        node.clock.advance(1.0)
        node.live.see(FRAMES_A_SECOND, **seen)
        node.updater.watch()
    took = node.clock.monotonic() - began
    assert took <= WITHIN_SECONDS
    assert node.live.serves == node.updater.state.last_confirmed.key == node.base.key
    (refused,) = node.updater.state.quarantined
    assert re.search(reason, refused.reason), refused.reason
    record_property("survive", f"item 3: {cause}: back after {took:.0f} s of its 60 s of probation")


def test_a_model_that_is_as_good_is_confirmed_and_not_before_its_time(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    node.live.opinion_of_old = Opinion(2, 0.01, 3)
    for second in range(1, 62):
        node.clock.advance(1.0)
        node.live.see(FRAMES_A_SECOND, detections=7, seconds=0.012)
        node.updater.watch()
        assert (node.updater.state.phase is Phase.LIVE) == (second < 60)
    assert node.updater.state.last_confirmed.key == node.feed.offer.key


def test_golden_frames_that_fail_at_the_end_are_seen_before_the_model_becomes_the_way_back(
    node: Any, make_offer: Any
) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    node.live.see(200)
    node.updater.watch()
    golden(node)
    node.clock.advance(61.0)
    node.updater.watch()
    assert node.updater.state.last_confirmed.key == node.base.key
    assert "no helmet" in node.updater.state.quarantined[0].reason


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=10, max_size=20))
def test_only_a_drift_beyond_its_limits_is_held_against_a_model(pairs: list[tuple[int, int]]) -> None:
    probation = Probation(0.0, Vitals(), 60.0, 100, 1.5)
    probation.opinions += [Opinion(old, 0.01, new) for old, new in pairs]
    old, new = sum(one for one, _ in pairs), sum(one for _, one in pairs)
    outcome = probation.judge(20.0, Vitals(100, 0, max(1, new), 1.0))
    far = new < LEAST_SHARE * old or new > max(MOST_SHARE * old, MIN_OBJECTS)
    assert (outcome is Outcome.FAILED) == (far and max(old, new) >= MIN_OBJECTS)
