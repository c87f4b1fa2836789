# SPDX-License-Identifier: Apache-2.0
"""Backoff: capped, growing, jittered, and back at its start after a success."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.retry import Backoff

ALMOST_ONE = 1.0 - 2**-53


@given(
    initial=st.floats(0.001, 10),
    growth=st.floats(1, 100),
    factor=st.floats(1, 10),
    draws=st.lists(st.floats(0, ALMOST_ONE), min_size=1, max_size=40),
)
def test_no_delay_is_above_its_ceiling(initial: float, growth: float, factor: float, draws: list[float]) -> None:
    cap = initial * growth
    numbers = iter(draws)
    backoff = Backoff(initial, cap, factor, lambda: next(numbers))
    for number, draw in enumerate(draws):
        ceiling = min(cap, initial * factor**number)
        assert backoff.next_delay() == pytest.approx(draw * ceiling)


def test_full_jitter_reaches_down_to_zero() -> None:
    assert Backoff(1, 8, 2, lambda: 0.0).next_delay() == 0.0


def test_success_starts_again_from_the_first_delay() -> None:
    backoff = Backoff(1, 8, 2, lambda: 0.5)
    assert [backoff.next_delay() for _ in range(5)] == [0.5, 1, 2, 4, 4]
    backoff.reset()
    assert backoff.next_delay() == 0.5


@pytest.mark.parametrize("figures", [(0, 1, 2), (-1, 1, 2), (2, 1, 2), (1, 2, 0.5)])
def test_figures_that_make_no_sense_are_refused(figures: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="backoff"):
        Backoff(*figures, lambda: 0.0)
