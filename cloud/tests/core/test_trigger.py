# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from helmet_cloud.core.trigger import Condition, Trigger, look_at_samples
from helmet_cloud.core.windows import Window

NIGHT, NOON = 1_767_222_000.0, 1_767_268_800.0  # 2025-12-31T23:00:00Z and 2026-01-01T12:00:00Z
SEEDS = Trigger(Condition("num_of_samples", ">", 500), Window(120, 1200, ZoneInfo("UTC")), 60.0)


@pytest.mark.parametrize(
    ("samples", "now", "met", "message"),
    [
        (0, NOON, False, "0 of 500 samples"),
        (500, NOON, False, "500 of 500 samples"),
        (501, NOON, True, "501 of 500 samples"),
        (501, NIGHT, False, "501 of 500 samples: enough, waits for the window 02:00-20:00 UTC"),
        (499, NIGHT, False, "499 of 500 samples"),
    ],
)
def test_the_seeds_trigger(samples: int, now: float, met: bool, message: str) -> None:
    found = look_at_samples(SEEDS, samples, now)
    assert (found.met, found.message) == (met, message)


def test_another_operator_is_shown_with_the_progress() -> None:
    trigger = Trigger(Condition("num_of_samples", "ge", 10), None, 60.0)
    assert look_at_samples(trigger, 3, NOON).message == "3 of 10 samples (trigger: num_of_samples >= 10)"
    assert look_at_samples(trigger, 10, NOON).met


def test_a_condition_that_holds_for_nothing_starts_no_round() -> None:
    found = look_at_samples(Trigger(Condition("num_of_samples", "<", 10), None, 60.0), 0, NOON)
    assert not found.met
    assert "nothing new to train on" in found.message


@pytest.mark.parametrize("condition", [Condition("loss", ">", 1), Condition("num_of_samples", "~", 1)])
def test_what_cannot_be_looked_at_is_told_and_starts_nothing(condition: Condition) -> None:
    found = look_at_samples(Trigger(condition, None, 60.0), 1000, NOON)
    assert not found.met
    assert "cannot start" in found.message
