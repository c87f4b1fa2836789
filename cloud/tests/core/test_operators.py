# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.core.operators import ALIASES, EPSILON, compare

NUMBERS = st.floats(allow_nan=False) | st.integers(-5, 5).map(float)


@pytest.mark.parametrize(
    ("names", "low", "same", "high"),
    [
        (("gt", ">"), False, False, True),
        (("ge", ">="), False, True, True),
        (("eq", "=", "=="), False, True, False),
        (("ne", "!="), True, False, True),
        (("le", "<="), True, True, False),
        (("lt", "<"), True, False, False),
    ],
)
def test_each_name_of_an_operator_means_the_same(
    names: tuple[str, ...],
    low: bool,
    same: bool,
    high: bool,
) -> None:
    for name in names:
        assert [compare(name, value, 500.0) for value in (499.0, 500.0, 501.0)] == [low, same, high]


def test_no_name_is_left_untested() -> None:
    assert set(ALIASES) == {"gt", ">", "ge", ">=", "eq", "=", "==", "ne", "!=", "le", "<=", "lt", "<"}


@given(NUMBERS, NUMBERS)
def test_exactly_one_of_less_equal_and_greater_holds(value: float, threshold: float) -> None:
    assert [compare(sign, value, threshold) for sign in ("<", "==", ">")].count(True) == 1


@given(NUMBERS, NUMBERS)
def test_the_others_follow_from_these_three(value: float, threshold: float) -> None:
    less, equal, greater = (compare(sign, value, threshold) for sign in ("<", "==", ">"))
    assert compare("<=", value, threshold) == (less or equal)
    assert compare(">=", value, threshold) == (greater or equal)
    assert compare("!=", value, threshold) == (not equal)
    assert compare("<", value, threshold) == compare(">", threshold, value)


@given(st.floats(-1e3, 1e3), st.floats(0.0, EPSILON * 0.9))
def test_a_millionth_is_no_difference(value: float, noise: float) -> None:
    assert compare("==", value + noise, value)
    assert not compare(">", value + noise, value)
    assert compare(">", value + 2 * EPSILON, value)


@pytest.mark.parametrize("operator", sorted(ALIASES))
def test_what_is_no_number_lets_nothing_through(operator: str) -> None:
    assert not compare(operator, math.nan, 0.0)
    assert not compare(operator, 0.0, math.nan)


def test_an_unknown_operator_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'=>'"):
        compare("=>", 1.0, 0.0)
