# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import random
from itertools import repeat

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helmet_agent.contract import Detection
from helmet_agent.vision.mining import RuleContext
from helmet_agent.vision.mining.all_or_none import CloudOnly, EdgeOnly
from helmet_agent.vision.mining.cross_entropy import CrossEntropy
from helmet_agent.vision.mining.random_choice import RandomChoice
from helmet_agent.vision.mining.threshold import Threshold

SHARE = st.floats(0.0, 1.0)


def frame(*scores: float) -> RuleContext:
    return RuleContext([Detection("person", score, (1.0, 1.0, 9.0, 9.0)) for score in scores], 100, 100)


def test_threshold_compares_the_mean_strictly() -> None:
    assert Threshold().judge(frame(0.5, 0.5)) is None
    verdict = Threshold().judge(frame(0.5, 0.25))
    assert verdict is not None
    assert (verdict.rule, verdict.value) == ("Threshold", 0.625)


@pytest.mark.parametrize("scores", [(), (0.1, math.nan), (0.1, -math.inf, math.inf)])
def test_threshold_finds_nothing_hard_where_there_is_no_mean(scores: tuple[float, ...]) -> None:
    assert Threshold(threshold=1.0).judge(frame(*scores)) is None


@given(scores=st.lists(SHARE, min_size=1, max_size=12), threshold=SHARE)
@settings(deadline=None)
def test_threshold_is_the_definition(scores: list[float], threshold: float) -> None:
    mean = sum(scores) / len(scores)
    assume(abs(mean - threshold) > 1e-12)
    assert (Threshold(threshold).judge(frame(*scores)) is not None) == (mean < threshold)


@given(scores=st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=12), threshold=SHARE)
@settings(deadline=None)
def test_cross_entropy_is_the_definition_where_sedna_has_one(scores: list[float], threshold: float) -> None:
    confidence = 1 + sum(score * math.log(score) for score in scores) / math.log(len(scores))
    assume(abs(confidence - threshold) > 1e-12)
    verdict = CrossEntropy(threshold).judge(frame(*scores))
    assert (verdict is not None) == (confidence < threshold)
    assert verdict is None or math.isclose(verdict.value, 1 - confidence, abs_tol=1e-12)


def test_cross_entropy_compares_strictly() -> None:
    assert CrossEntropy(0.0).judge(frame(0.5, 0.5)) is None  # confidence exactly 0
    assert CrossEntropy(0.001).judge(frame(0.5, 0.5)) is not None


def test_cross_entropy_takes_a_score_of_zero_for_its_limit() -> None:
    assert CrossEntropy().judge(frame(0.0, 1.0)) is None  # nothing uncertain: confidence 1
    verdict = CrossEntropy(1.0).judge(frame(0.0, 0.5))
    assert verdict is not None
    assert verdict.value == 0.5


@pytest.mark.parametrize(("score", "hard"), [(0.0, False), (0.5, True), (0.6, True), (0.95, False), (1.0, False)])
def test_cross_entropy_judges_a_lone_box_by_its_two_outcomes(score: float, hard: bool) -> None:
    assert (CrossEntropy().judge(frame(score)) is not None) == hard


def test_cross_entropy_of_a_lone_half_is_as_hard_as_can_be() -> None:
    verdict = CrossEntropy(0.01).judge(frame(0.5))
    assert verdict is not None
    assert verdict.value == 1.0


@pytest.mark.parametrize("scores", [(), (0.3, 1.5), (0.3, -0.1), (0.3, math.nan)])
def test_cross_entropy_finds_nothing_hard_in_what_cannot_be(scores: tuple[float, ...]) -> None:
    assert CrossEntropy(1.0).judge(frame(*scores)) is None


@given(scores=st.lists(SHARE, max_size=12), seed=st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_boxes_does_not_matter(scores: list[float], seed: random.Random) -> None:
    shuffled = list(scores)
    seed.shuffle(shuffled)
    for rule in (Threshold(), CrossEntropy()):
        assert rule.judge(frame(*scores)) == rule.judge(frame(*shuffled))


def test_random_compares_each_draw_strictly_with_the_ratio() -> None:
    draws = iter([0.29, 0.3, 0.31, 0.0])
    rule = RandomChoice(draw=lambda: next(draws), random_ratio=0.3)
    assert [rule.judge(frame(0.9)) is not None for _ in range(4)] == [True, False, False, True]


def test_random_takes_frames_without_boxes_too_and_claims_nothing_about_them() -> None:
    verdict = RandomChoice(draw=lambda: 0.0).judge(frame())
    assert verdict is not None
    assert (verdict.rule, verdict.value) == ("Random", 0.0)


def test_random_takes_its_ratio_of_many_frames() -> None:
    rule = RandomChoice(draw=random.Random(7).random, random_ratio=0.3)  # noqa: S311 - no secret
    taken = sum(rule.judge(frame()) is not None for _ in repeat(None, 4000))
    assert 1100 < taken < 1300


@pytest.mark.parametrize("scores", [(), (0.1,), (0.99, math.nan)])
def test_cloud_only_takes_everything_and_edge_only_nothing(scores: tuple[float, ...]) -> None:
    verdict = CloudOnly().judge(frame(*scores))
    assert verdict is not None
    assert (verdict.rule, verdict.value) == ("CloudOnly", 0.0)
    assert EdgeOnly().judge(frame(*scores)) is None
