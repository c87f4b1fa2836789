# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest

from helmet_cloud.training.schedule import Plan, round_plan


def test_rate_rises_to_its_peak_and_falls_to_its_end() -> None:
    plan = Plan(steps=1000, warmup_steps=100, peak_rate=1.0, final_rate=0.1)
    rates = [plan.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == rates[100] == pytest.approx(1.0)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[100:]))
    assert rates[-1] == pytest.approx(0.1, abs=1e-4)


def test_average_forgets_the_start_quickly_and_then_settles() -> None:
    plan = Plan(average_decay=0.99)
    assert plan.average(0) == pytest.approx(0.1)
    assert plan.average(100_000) == 0.99


def test_last_part_is_without_mosaics() -> None:
    plan = Plan(steps=100, mosaic_share=0.5, plain_share=0.2)
    assert plan.mosaic(79) == 0.5
    assert plan.mosaic(80) == 0.0


@pytest.mark.parametrize("steps", [1, 2, 10, 400])
def test_round_of_any_length_has_a_rate_for_every_step(steps: int) -> None:
    plan = round_plan(steps, seed=1)
    assert all(0 < plan.rate(step) <= plan.peak_rate for step in range(steps))
