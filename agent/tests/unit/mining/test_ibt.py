# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import Detection
from helmet_agent.vision.mining import RuleContext
from helmet_agent.vision.mining.ibt import Ibt

SHARE = st.floats(0.0, 1.0)


def frame(*scores: float) -> RuleContext:
    return RuleContext([Detection("person", score, (1.0, 1.0, 9.0, 9.0)) for score in scores], 100, 100)


def row(score: float) -> list[float]:
    return [1.0, 1.0, 9.0, 9.0, score, 0.0]


def test_a_frame_without_boxes_is_not_hard_even_where_every_frame_would_be() -> None:
    assert Ibt(threshold_img=1.0, threshold_box=1.0).judge(frame()) is None


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_row_of_four_or_fewer_elements_makes_the_frame_not_hard(length: int) -> None:
    rule = Ibt(threshold_img=1.0)
    assert rule.judge_rows([row(0.1), row(0.2)]) is not None
    assert rule.judge_rows([row(0.1), row(0.2)[:length]]) is None


def test_five_elements_are_enough() -> None:
    assert Ibt().judge_rows([row(0.1)[:5]]) is not None


@pytest.mark.parametrize("score", [-0.001, 1.001, math.nan, math.inf, -math.inf])
def test_one_score_that_cannot_be_makes_the_whole_frame_not_hard(score: float) -> None:
    rule = Ibt(threshold_img=1.0)
    assert rule.judge(frame(0.1, 0.1)) is not None
    assert rule.judge(frame(0.1, 0.1, score)) is None
    assert rule.judge_rows([row(0.1), row(score)]) is None


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_scores_of_zero_and_one_are_possible(score: float) -> None:
    assert Ibt(threshold_img=1.0).judge(frame(score)) is not None


def test_a_score_at_the_threshold_counts_as_unsure() -> None:
    assert Ibt(threshold_img=0.5, threshold_box=0.5).judge(frame(0.5)) is not None
    assert Ibt(threshold_img=0.5, threshold_box=0.5).judge(frame(math.nextafter(0.5, 1.0))) is None


def test_at_nine_tenths_one_of_ten_is_hard_and_one_of_eleven_is_not() -> None:
    rule = Ibt(threshold_img=0.9, threshold_box=0.9)
    assert rule.judge(frame(0.9, *[0.95] * 9)) is not None
    assert rule.judge(frame(0.9, *[0.95] * 10)) is None


def test_a_picture_threshold_of_one_takes_any_frame_with_a_box() -> None:
    rule = Ibt(threshold_img=1.0, threshold_box=0.5)
    verdict = rule.judge(frame(0.99, 0.98))
    assert verdict is not None
    assert verdict.value == 0.0


def test_three_of_ten_at_seven_tenths_are_not_enough_since_floats_say_so() -> None:
    assert 1 - 0.7 > 0.3
    assert Ibt(threshold_img=0.7, threshold_box=0.5).judge(frame(*[0.1] * 3, *[0.9] * 7)) is None
    assert Ibt(threshold_img=0.7, threshold_box=0.5).judge(frame(*[0.1] * 4, *[0.9] * 6)) is not None


def test_both_thresholds_are_one_half_by_default() -> None:
    assert Ibt() == Ibt(threshold_img=0.5, threshold_box=0.5)


def test_the_value_is_the_share_of_unsure_boxes() -> None:
    verdict = Ibt().judge(frame(0.3, 0.4, 0.9))
    assert verdict is not None
    assert verdict.rule == "IBT"
    assert verdict.value == 2 / 3


@given(scores=st.lists(st.floats(-0.2, 1.2) | st.just(math.nan), max_size=12), img=SHARE, box=SHARE)
@settings(deadline=None)
def test_it_is_the_definition(scores: list[float], img: float, box: float) -> None:
    hard = (
        len(scores) > 0
        and all(0 <= score <= 1 for score in scores)
        and len([score for score in scores if score <= box]) / len(scores) >= 1 - img
    )
    rule = Ibt(threshold_img=img, threshold_box=box)
    assert (rule.judge(frame(*scores)) is not None) == hard
    assert (rule.judge_rows([row(score) for score in scores]) is not None) == hard
