# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import Detection
from helmet_agent.vision.mining import RuleContext
from helmet_agent.vision.mining.head_conflict import HeadConflict
from helmet_agent.vision.mining.head_without_person import HeadWithoutPerson
from helmet_agent.vision.mining.person_without_head import PersonWithoutHead

if TYPE_CHECKING:
    import random

PERSON = Detection("person", 0.8, (300.0, 100.0, 400.0, 400.0))
HEAD = Detection("helmet-on", 0.7, (330.0, 100.0, 370.0, 150.0))


def frame(*detections: Detection) -> RuleContext:
    return RuleContext(detections, 1000, 600)


def moved(found: Detection, dx: float, dy: float) -> Detection:
    x1, y1, x2, y2 = found.box
    return Detection(found.label, found.score, (x1 + dx, y1 + dy, x2 + dx, y2 + dy))


def test_a_head_that_is_worn_and_bare_is_hard_by_the_lower_score() -> None:
    verdict = HeadConflict().judge(frame(HEAD, Detection("helmet-off", 0.4, (332.0, 101.0, 372.0, 152.0))))
    assert verdict is not None
    assert (verdict.rule, verdict.value) == ("HeadConflict", 0.4)


def test_heads_beside_each_other_are_no_conflict() -> None:
    assert HeadConflict().judge(frame(HEAD, Detection("helmet-off", 0.4, (365.0, 100.0, 405.0, 150.0)))) is None


def test_two_boxes_of_one_class_are_no_conflict() -> None:
    assert HeadConflict().judge(frame(HEAD, HEAD, PERSON)) is None


def test_an_overlap_of_zero_never_counts() -> None:
    assert HeadConflict(iou=0.0).judge(frame(HEAD, Detection("helmet-off", 0.4, (500.0, 100.0, 540.0, 150.0)))) is None


def test_a_person_without_a_head_is_hard_by_its_score() -> None:
    verdict = PersonWithoutHead().judge(frame(PERSON))
    assert verdict is not None
    assert (verdict.rule, verdict.value) == ("PersonWithoutHead", 0.8)


@pytest.mark.parametrize("label", ["helmet-on", "helmet-off"])
def test_a_person_with_a_head_is_not_hard(label: str) -> None:
    assert PersonWithoutHead().judge(frame(PERSON, Detection(label, 0.3, HEAD.box))) is None


@pytest.mark.parametrize("place", [(0.0, 150.0), (120.0, 0.0), (0.0, -80.0)])
def test_a_head_in_the_wrong_place_does_not_help(place: tuple[float, float]) -> None:
    assert PersonWithoutHead().judge(frame(PERSON, moved(HEAD, *place))) is not None


def test_a_hat_that_nobody_wears_is_no_head() -> None:
    assert PersonWithoutHead().judge(frame(PERSON, Detection("helmet", 0.9, HEAD.box))) is not None


@pytest.mark.parametrize(
    "person",
    [
        Detection("person", 0.49, PERSON.box),  # not believed
        Detection("person", 0.8, (300.0, 100.0, 330.0, 189.0)),  # too small for its head to be held against the model
        Detection("person", 0.8, (300.0, 5.0, 400.0, 305.0)),  # the head is outside the picture
    ],
)
def test_some_persons_need_no_head(person: Detection) -> None:
    assert PersonWithoutHead().judge(frame(person)) is None


def test_a_head_without_a_person_is_hard_by_its_score() -> None:
    verdict = HeadWithoutPerson().judge(frame(HEAD, moved(PERSON, 300.0, 0.0)))
    assert verdict is not None
    assert (verdict.rule, verdict.value) == ("HeadWithoutPerson", 0.7)


def test_a_head_with_its_person_or_hardly_believed_is_not_hard() -> None:
    assert HeadWithoutPerson().judge(frame(HEAD, PERSON)) is None
    assert HeadWithoutPerson().judge(frame(Detection("helmet-off", 0.49, HEAD.box))) is None
    assert HeadWithoutPerson().judge(frame(Detection("helmet", 0.9, HEAD.box))) is None


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    x, y = draw(st.floats(0, 900)), draw(st.floats(0, 500))
    width, height = draw(st.floats(1, 300)), draw(st.floats(1, 300))
    label = draw(st.sampled_from(["person", "helmet", "helmet-on", "helmet-off"]))
    return Detection(label, draw(st.floats(0, 1)), (x, y, x + width, y + height))


@given(found=st.lists(detections(), max_size=10), seed=st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_boxes_does_not_matter(found: list[Detection], seed: random.Random) -> None:
    shuffled = list(found)
    seed.shuffle(shuffled)
    for rule in (HeadConflict(iou=0.1), PersonWithoutHead(), HeadWithoutPerson()):
        assert rule.judge(frame(*found)) == rule.judge(frame(*shuffled))
