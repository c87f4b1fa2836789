# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import Detection
from helmet_agent.vision.tracking import Tracker, TrackerSettings, group_of
from helmet_agent.vision.tracks import HISTORY, Track, TrackUpdate

LABELS = st.sampled_from(["person", "helmet", "helmet-on", "helmet-off"])
DETECTIONS = st.builds(
    lambda label, score, x, y, w, h: Detection(label, score, (float(x), float(y), float(x + w), float(y + h))),
    LABELS,
    st.sampled_from([0.1, 0.3, 0.5, 0.9]),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 40),
    st.integers(1, 40),
)
FRAMES = st.lists(st.lists(DETECTIONS, max_size=6), max_size=25)


def head(x: float, y: float = 50.0, label: str = "helmet-off", score: float = 0.8, size: float = 20.0) -> Detection:
    return Detection(label, score, (x, y, x + size, y + size))


def play(tracker: Tracker, frames: list[list[Detection]]) -> list[TrackUpdate]:
    return [tracker.update(found, float(number)) for number, found in enumerate(frames)]


@given(FRAMES)
@settings(deadline=None)
def test_numbers_are_never_used_again(frames: list[list[Detection]]) -> None:
    begun: list[int] = []
    gone: set[int] = set()
    for update in play(Tracker(TrackerSettings(max_missed=2)), frames):
        begun += [track.id for track in update.started]
        gone |= {track.id for track in update.lost}
        living = [track.id for track in update.tracks]
        assert len(set(living)) == len(living)
        assert not gone & set(living)
    assert begun == list(range(1, len(begun) + 1))


@given(FRAMES, st.integers(1, 4))
@settings(deadline=None)
def test_the_number_of_tracks_is_bounded_by_what_was_seen_lately(frames: list[list[Detection]], patience: int) -> None:
    for number, update in enumerate(play(Tracker(TrackerSettings(max_missed=patience)), frames)):
        recent = frames[max(0, number - patience) : number + 1]
        assert len(update.tracks) <= sum(map(len, recent))
        assert sum(1 for track in update.tracks if not track.missed) <= len(frames[number])
        assert all(track.missed <= min(patience, track.hits) for track in update.tracks)


@given(FRAMES, st.integers(0, 1000))
@settings(deadline=None)
def test_the_order_of_detections_does_not_matter(frames: list[list[Detection]], seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a shuffle
    shuffled = [rng.sample(found, len(found)) for found in frames]
    assert play(Tracker(), frames) == play(Tracker(), shuffled)


@given(FRAMES)
@settings(deadline=None)
def test_every_update_is_consistent(frames: list[list[Detection]]) -> None:
    before: dict[int, Track] = {}
    for number, (update, found) in enumerate(zip(play(Tracker(), frames), frames, strict=True)):
        living = {track.id: track for track in update.tracks}
        assert {track.id for track in update.started} == set(living) - set(before)
        assert {track.id for track in update.lost} == set(before) - set(living)
        assert all(living[track.id] == track for track in update.started)
        for track in update.tracks:
            if not track.missed:
                assert Detection(track.label, track.score, track.box) in found
                assert track.last_seen_seconds == number
                assert (track.labels[-1], track.scores[-1]) == (track.label, track.score)
            assert len(track.scores) == len(track.labels) == min(track.hits, HISTORY)
            assert len({group_of(label) for label in track.labels}) == 1
            assert track.hits + track.missed <= number + 1
        before = living


def test_a_walker_keeps_one_number() -> None:
    # a head of 20 pixels that moves by 24 each frame: the boxes of two frames never touch
    updates = play(Tracker(), [[head(24.0 * number)] for number in range(30)])
    assert {track.id for update in updates for track in update.tracks} == {1}
    assert updates[-1].tracks[0].hits == 30
    assert updates[-1].tracks[0].first_seen_seconds == 0.0


def test_two_walkers_that_cross_keep_their_numbers() -> None:
    frames = [[head(10.0 * number, 50.0), head(300 - 10.0 * number, 54.0)] for number in range(31)]
    updates = play(Tracker(), frames)
    first = {track.id: track.box[0] for track in updates[0].tracks}
    last = {track.id: track.box[0] for track in updates[-1].tracks}
    assert set(first) == set(last) == {1, 2}
    assert all(abs(first[number] - last[number]) == 300 for number in first)


def test_a_helmet_that_is_taken_off_stays_on_the_track() -> None:
    update = play(Tracker(), [[head(10, label="helmet-on")]] * 3 + [[head(10, label="helmet-off")]] * 2)[-1]
    (track,) = update.tracks
    assert track.labels == ("helmet-on",) * 3 + ("helmet-off",) * 2
    assert track.label == "helmet-off"


def test_a_head_seen_with_two_labels_is_one_head() -> None:
    both = [head(10, label="helmet-on", score=0.7), head(11, label="helmet-off", score=0.4)]
    for update in play(Tracker(), [both] * 5):
        (track,) = update.tracks
        assert track.label == "helmet-on"


def test_a_head_and_its_person_and_a_hat_are_three_tracks() -> None:
    found = [head(10, label=label) for label in ("person", "helmet", "helmet-on")]
    assert len(play(Tracker(), [found] * 3)[-1].tracks) == 3


def test_a_missed_track_moves_on_and_is_found_again() -> None:
    frames = [[head(10.0 * number)] if not 10 <= number < 14 else [] for number in range(20)]
    updates = play(Tracker(), frames)
    assert [track.id for track in updates[-1].tracks] == [1]
    expected = updates[11].tracks[0]
    assert expected.missed == 2
    assert 100 < expected.box[0] < 125
    assert expected.last_seen_seconds == 9.0
    assert updates[14].tracks[0].missed == 0


def test_a_gap_does_not_make_a_track_faster() -> None:
    frames = [[] if number in (10, 11, 12, 13, 15) else [head(10.0 * number)] for number in range(16)]
    expected = play(Tracker(), frames)[-1].tracks[0]
    assert expected.missed == 1
    assert expected.box[0] == pytest.approx(150.0, abs=5.0)


def test_a_track_is_given_up_after_its_patience() -> None:
    frames = [[head(10)]] * 20 + [[]] * 6 + [[head(10)]]
    updates = play(Tracker(TrackerSettings(max_missed=4)), frames)
    assert [len(update.lost) for update in updates[20:]] == [0, 0, 0, 0, 1, 0, 0]
    assert updates[24].lost[0].missed == 5
    assert updates[24].tracks == ()
    assert [track.id for track in updates[-1].started] == [2]


def test_a_mistake_of_one_frame_does_not_linger() -> None:
    updates = play(Tracker(), [[head(10)], [], []])
    assert len(updates[1].tracks) == 1
    assert len(updates[2].lost) == 1


def test_sure_detections_choose_their_track_first() -> None:
    tracker = Tracker()
    tracker.update([head(100, score=0.9)], 0.0)
    # the weak box lies nearer, but the sure one is within reach
    update = tracker.update([head(101, score=0.2), head(112, score=0.9)], 1.0)
    assert {track.id: track.score for track in update.tracks} == {1: 0.9, 2: 0.2}


def test_a_weak_detection_keeps_a_track_alive() -> None:
    updates = play(Tracker(), [[head(10, score=0.9)], [head(12, score=0.26)], [head(14, score=0.9)]])
    assert [track.id for track in updates[-1].tracks] == [1]
    assert updates[-1].tracks[0].scores == (0.9, 0.26, 0.9)


@pytest.mark.parametrize("other", [head(90), head(-5, 35, size=50)], ids=["far away", "another size"])
def test_what_cannot_be_the_same_begins_anew(other: Detection) -> None:
    assert [track.id for track in play(Tracker(), [[head(10)], [other]])[-1].started] == [2]


def test_an_absurd_box_harms_nobody() -> None:
    thin = Detection("helmet-off", 0.5, (5.0, 5.0, 5.0, 9.0))
    updates = play(Tracker(), [[thin, head(10)]] * 3)
    assert sorted(track.id for track in updates[-1].tracks) == [1, 2]
