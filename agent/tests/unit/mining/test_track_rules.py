# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import Detection
from helmet_agent.vision.mining import RuleContext
from helmet_agent.vision.mining.label_flip import LabelFlip
from helmet_agent.vision.mining.score_flicker import ScoreFlicker
from helmet_agent.vision.mining.track_lost import TrackLost
from helmet_agent.vision.tracks import Track, TrackUpdate

if TYPE_CHECKING:
    import random

    from helmet_agent.contract import Box

WIDTH, HEIGHT = 1280, 720
MIDDLE = (600.0, 200.0, 700.0, 500.0)
STEADY = Track(
    id=1,
    label="person",
    score=0.8,
    box=MIDDLE,
    hits=40,
    missed=0,
    first_seen_seconds=1.0,
    last_seen_seconds=2.0,
    scores=(0.8,) * 16,
    labels=("person",) * 16,
)


def track(**changes: Any) -> Track:
    return dataclasses.replace(STEADY, **changes)


def frame(*tracks: Track, lost: tuple[Track, ...] = (), shown: tuple[Detection, ...] = ()) -> RuleContext:
    return RuleContext(shown, WIDTH, HEIGHT, 2.0, TrackUpdate(tracks, (), lost))


def test_somebody_who_vanishes_in_mid_picture_is_hard_by_how_sure_the_model_was() -> None:
    verdict = TrackLost().judge(frame(track(missed=2, scores=(0.7, 0.9))))
    assert verdict is not None
    assert (verdict.rule, verdict.value) == ("TrackLost", 0.8)


def test_a_gap_is_hard_once() -> None:
    assert [TrackLost().judge(frame(track(missed=gap))) is not None for gap in range(6)] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]


def test_who_is_given_up_earlier_is_hard_then() -> None:
    assert TrackLost(missed_frames=5).judge(frame(lost=(track(missed=3),))) is not None
    assert TrackLost(missed_frames=5).judge(frame(lost=(track(missed=6),))) is None  # its verdict is past


@pytest.mark.parametrize(
    "box",
    [
        (10.0, 200.0, 110.0, 500.0),
        (600.0, 10.0, 700.0, 300.0),
        (1200.0, 200.0, 1270.0, 500.0),
        (600.0, 400.0, 700.0, 715.0),
        (-50.0, 200.0, 40.0, 500.0),
    ],
)
def test_who_leaves_over_the_border_is_not_hard(box: Box) -> None:
    assert TrackLost().judge(frame(track(missed=2, box=box))) is None


def test_who_was_hardly_there_is_not_missed() -> None:
    assert TrackLost(min_hits=8).judge(frame(track(missed=2, hits=7))) is None
    assert TrackLost(min_hits=8).judge(frame(track(missed=2, hits=8))) is not None


def test_who_goes_behind_somebody_is_not_hard() -> None:
    over = Detection("person", 0.9, (610.0, 180.0, 720.0, 520.0))
    beside = Detection("person", 0.9, (690.0, 180.0, 800.0, 520.0))
    assert TrackLost().judge(frame(track(missed=2), shown=(over,))) is None
    assert TrackLost().judge(frame(track(missed=2), shown=(beside,))) is not None


def test_a_head_does_not_hide_behind_its_own_person_but_behind_another_head() -> None:
    head = track(label="helmet-off", box=(630.0, 210.0, 670.0, 260.0), missed=2)
    person = Detection("person", 0.9, MIDDLE)
    other = Detection("helmet-on", 0.9, (625.0, 205.0, 672.0, 262.0))
    assert TrackLost().judge(frame(head, shown=(person,))) is not None
    assert TrackLost().judge(frame(head, shown=(person, other))) is None


def test_a_score_that_falls_is_hard_by_how_far() -> None:
    verdict = ScoreFlicker().judge(frame(track(scores=(0.8, 0.9, 0.85, 0.5))))
    assert verdict is not None
    assert verdict.rule == "ScoreFlicker"
    assert verdict.value == pytest.approx(0.4)


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": (0.8, 0.9, 0.85, 0.6)},  # not far enough
        {"scores": (0.9, 0.4, 0.8)},  # on its way up again
        {"scores": (0.9, 0.4, 0.4)},  # still down: the first frame of it was taken
        {"scores": (0.9, *[0.6] * 8, 0.5)},  # high too long ago
        {"scores": (0.5,)},
        {"scores": (0.9, 0.4), "missed": 1},  # not matched now
        {"scores": (0.9, 0.4), "box": (2.0, 200.0, 80.0, 500.0)},  # leaving
    ],
)
def test_a_score_that_does_not_fall_now_is_not_hard(changes: dict[str, Any]) -> None:
    assert ScoreFlicker().judge(frame(track(**changes))) is None


def test_the_deepest_fall_counts() -> None:
    verdict = ScoreFlicker().judge(frame(track(scores=(0.9, 0.5)), track(id=2, scores=(0.9, 0.3)), track(id=3)))
    assert verdict is not None
    assert verdict.value == pytest.approx(0.6)


def test_no_swing_asked_for_still_needs_a_fall() -> None:
    assert ScoreFlicker(swing=0.0).judge(frame(track(scores=(0.5, 0.5)))) is None
    assert ScoreFlicker(swing=0.0).judge(frame(track(scores=(0.5, 0.49)))) is not None


ON, OFF = "helmet-on", "helmet-off"


def test_a_label_that_changes_now_is_hard_by_how_often_it_did() -> None:
    verdict = LabelFlip().judge(frame(track(labels=(ON, OFF, ON, ON, OFF))))
    assert verdict is not None
    assert (verdict.rule, verdict.value) == ("LabelFlip", 3.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": (ON, OFF, OFF)},  # changed a frame ago
        {"labels": (ON,)},
        {"labels": (ON, OFF), "missed": 1},
        {"labels": (ON, OFF), "hits": 2},
    ],
)
def test_a_label_that_does_not_change_now_is_not_hard(changes: dict[str, Any]) -> None:
    assert LabelFlip().judge(frame(track(**changes))) is None


def test_three_matches_are_enough_to_believe_a_label() -> None:
    assert LabelFlip().judge(frame(track(labels=(ON, ON, OFF), hits=3))) is not None


def test_one_change_may_be_let_pass() -> None:
    assert LabelFlip(min_changes=2).judge(frame(track(labels=(ON, ON, OFF)))) is None
    assert LabelFlip(min_changes=2).judge(frame(track(labels=(ON, OFF, ON)))) is not None


TRACKS = st.builds(
    track,
    hits=st.integers(1, 30),
    missed=st.integers(0, 4),
    scores=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=16).map(tuple),
    labels=st.lists(st.sampled_from([ON, OFF]), min_size=1, max_size=16).map(tuple),
)


@given(tracks=st.lists(TRACKS, max_size=6), seed=st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_tracks_does_not_matter_and_judging_has_no_memory(
    tracks: list[Track], seed: random.Random
) -> None:
    shuffled = list(tracks)
    seed.shuffle(shuffled)
    for rule in (TrackLost(min_hits=2), ScoreFlicker(), LabelFlip()):
        verdict = rule.judge(frame(*tracks))
        assert verdict == rule.judge(frame(*shuffled)) == rule.judge(frame(*tracks))
