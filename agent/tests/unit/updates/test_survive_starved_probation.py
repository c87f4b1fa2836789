# SPDX-License-Identifier: Apache-2.0
"""A machine that becomes busy is no fault of the model that serves since a moment ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.services.probation import Opinion, Outcome, Probation, Vitals

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.survive
FRAMES = 200


def ended(opinions: list[Opinion], mean_seconds: float) -> Probation:
    probation = Probation(0.0, Vitals(), 60.0, 100, 1.5, opinions=opinions)
    probation.judge(60.0, Vitals(FRAMES, 0, FRAMES, FRAMES * mean_seconds))
    return probation


@given(slowdown=st.floats(1.0, 50.0))
def test_a_crowd_that_comes_after_the_comparison_counts_against_nobody(slowdown: float) -> None:
    probation = ended([Opinion(1, 0.008, 1, 0.008)] * 20, 0.008 * slowdown)
    assert probation.reason == ""


@given(st.lists(st.floats(1.0, 50.0), min_size=20, max_size=20))
def test_a_crowd_during_the_comparison_slows_both_down(waits: list[float]) -> None:
    opinions = [Opinion(1, 0.008 * wait, 1, 0.009 * wait) for wait in waits]
    assert ended(opinions, 0.2).reason == ""


def test_a_model_that_is_slower_on_the_same_frames_still_goes_back(
    record_property: Callable[[str, object], None],
) -> None:
    probation = Probation(0.0, Vitals(), 60.0, 100, 1.5, opinions=[Opinion(1, 0.008, 1, 0.024)] * 20)
    assert probation.judge(5.0, Vitals(30, 0, 30, 30 * 0.024)) is Outcome.FAILED
    assert probation.reason == "takes 24.0 ms a frame where the model before it takes 8.0"
    record_property("survive", "item 8: a machine 50 times slower blames no model, a model 3 times slower goes back")
