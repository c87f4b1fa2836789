# SPDX-License-Identifier: Apache-2.0
"""The hand-drawn labels of the demo's new site: inside their pictures, apart by passage, and those that ship."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.vision.nms import iou_matrix
from helmet_cloud.labels import LabelSet, read_sedna, read_yolo
from helmet_demo.frames import DATA_FILE, clip_path, read_frames, write_pictures
from helmet_demo.new_site import HELD_BACK, KEYFRAMES, REGRESSION, TRAIN, USES, Passage, between, inside, read_site

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
SET = ROOT / "cloud" / "src" / "helmet_cloud" / "assets" / "regression"
ANCHORS = ROOT / "agent" / "tests" / "fixtures" / "frames"
SITE = read_site()
edge = st.floats(-1e4, 1e4)


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    return float(iou_matrix(np.array([one]), np.array([other]))[0, 0])


@pytest.fixture(scope="module")
def shipped() -> LabelSet:
    return read_sedna(SET / DATA_FILE)


def test_passages_of_different_use_share_no_frame() -> None:
    places = [(one.clip.name, frame, one.use) for one in SITE.passages for frame in range(one.first, one.last + 1)]
    assert len({place[:2] for place in places}) == len(places)
    assert {use for _, _, use in places} == set(USES)


def test_passages_of_different_use_lie_apart_in_time() -> None:
    for before, after in itertools.pairwise(one for one in SITE.passages if one.clip.name == "one-by-one"):
        if before.use != after.use:
            assert after.first - before.last >= 5, f"{before.who} and {after.who}: half a second at least"


def test_the_clips_are_as_the_key_frames_say() -> None:
    for clip in {one.clip for one in SITE.passages}:
        video = cv2.VideoCapture(str(clip_path(clip.file)))
        found = [round(video.get(what)) for what in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        assert [*found, round(video.get(cv2.CAP_PROP_FRAME_COUNT))] == [clip.width, clip.height, clip.frames]


@pytest.mark.parametrize("passage", SITE.passages, ids=lambda one: f"{one.clip.name}-{one.first}")
def test_every_box_of_every_frame_lies_in_its_picture(passage: Passage) -> None:
    picture = (0.0, 0.0, passage.clip.width, passage.clip.height)
    for frame in range(passage.first, passage.last + 1):
        marks = passage.boxes(frame)
        assert [mark.label for mark in marks] == (["person", passage.head] if passage.keys else [])
        assert all(inside(mark.box, picture) for mark in marks)
        if marks:
            assert inside(marks[1].box, marks[0].box), f"frame {frame}: the head belongs to the person"


def test_a_key_frame_is_taken_as_it_was_drawn() -> None:
    for passage in SITE.passages:
        for key in passage.keys:
            assert [mark.box for mark in passage.boxes(key.frame)] == [key.person, key.head]


@given(st.tuples(edge, edge, edge, edge), st.tuples(edge, edge, edge, edge), st.floats(0, 1))
def test_between_two_key_frames_no_edge_leaves_the_way(
    before: tuple[float, float, float, float], after: tuple[float, float, float, float], share: float
) -> None:
    for low, high, found in zip(before, after, between(before, after, share), strict=True):
        assert min(low, high) - 1e-6 <= found <= max(low, high) + 1e-6


def test_heads_move_steadily_between_key_frames() -> None:
    for passage in SITE.passages:
        for before, after in itertools.pairwise(passage.keys):
            if after.frame - before.frame > 6:
                assert overlap(before.head, after.head) > 0.6, f"{before.frame} to {after.frame}: draw another"


def test_labels_agree_with_those_drawn_before() -> None:
    """Twenty frames had been labelled by somebody else's eye; of these, the twelve and eight in these clips."""
    seen = 0
    for picture in read_yolo(ANCHORS).pictures:
        name, _, number = picture.path.stem.rpartition("_")
        file = {"one_by_one": "one-by-one-person-detection.mp4", "worker_zone": "worker-zone-detection.mp4"}[name]
        drawn = next(one for use in USES if (one := SITE.labels(file, int(number), use)))
        scale = picture.width / next(one.clip.width for one in SITE.passages if one.clip.file == file)
        for mark in drawn:
            found = next(box.box for box in picture.boxes if box.label == mark.label)
            mine = [edge * scale for edge in mark.box]
            assert overlap(mine, found) > 0.75, f"{picture.path.name}: {mark.label}"
            seen += 1
    assert seen == 40


def test_only_the_asked_use_gives_labels() -> None:
    train = SITE.of(TRAIN)[0]
    assert SITE.labels(train.clip.file, train.first, TRAIN)
    assert SITE.labels(train.clip.file, train.first, HELD_BACK) is None
    assert SITE.labels("another.mp4", train.first, TRAIN) is None
    assert SITE.labels(train.clip.file, train.last + 5, TRAIN) is None
    with pytest.raises(ValueError, match="frame 3 is not in"):
        train.boxes(3)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[60, 200, 394, 288, 432,", "[60, 200, 394, 788, 432,", "person lies outside"),
        ("[60, 200, 394, 288, 432,", "[60, 210, 394, 288, 432,", "head lies outside"),
        ("[61, 210,", "[59, 210,", "out of order"),
        ('use = "train"', 'use = "trian"', "none of train, held-back, regression"),
        ("first = 1212", "first = 1190", "overlaps with"),
        ("frames = 122", "frames = 100", "outside of the clip"),
    ],
)
def test_a_slip_of_the_pen_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = KEYFRAMES.read_text()
    assert old in text
    file = tmp_path / "keyframes.toml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=words):
        read_site(file)


def test_the_regression_set_has_both_classes_of_heads(shipped: LabelSet) -> None:
    assert not shipped.problems
    assert len(shipped.pictures) >= 60
    heads = [mark.label for picture in shipped.pictures for mark in picture.boxes if mark.label != "person"]
    assert heads.count("helmet-on") >= 30
    assert heads.count("helmet-off") >= 30
    assert (SET / "NOTICE.md").is_file()


def test_the_regression_set_is_what_the_key_frames_say(shipped: LabelSet) -> None:
    for picture in shipped.pictures:
        name, _, number = picture.path.stem.rpartition("_")
        clip = next(one.clip for one in SITE.passages if one.clip.name == name.replace("_", "-"))
        drawn = SITE.labels(clip.file, int(number), REGRESSION)
        assert drawn is not None, f"{picture.path.name}: a frame of another use"
        scale = picture.width / clip.width
        for mark, found in zip(drawn, picture.boxes, strict=True):
            assert mark.label == found.label
            assert found.box == pytest.approx([edge * scale for edge in mark.box], abs=0.51)


def test_no_picture_of_the_regression_set_is_among_those_of_another_use(shipped: LabelSet, tmp_path: Path) -> None:
    passages = [one for use in (TRAIN, HELD_BACK) for one in SITE.of(use)]
    others = [(one, frame) for one in passages for frame in (one.first, one.last)]
    write_pictures(tmp_path, others, width=640)
    digests = {hashlib.sha256(path.read_bytes()).digest() for path in (tmp_path / "images").iterdir()}
    assert len(digests) == len(others)
    assert not digests & {hashlib.sha256(one.path.read_bytes()).digest() for one in shipped.pictures}


def test_pictures_are_written_with_their_labels(tmp_path: Path) -> None:
    passage = SITE.of(HELD_BACK)[0]
    pictures = write_pictures(tmp_path, [(passage, passage.first + 30)])
    found = read_sedna(tmp_path / DATA_FILE)
    assert not found.problems
    assert [one.path for one in found.pictures] == [one.path for one in pictures]
    for mark, wanted in zip(found.pictures[0].boxes, passage.boxes(passage.first + 30), strict=True):
        assert mark.box == pytest.approx(wanted.box, abs=0.51)


def test_a_frame_beyond_the_end_is_told() -> None:
    with pytest.raises(Exception, match="has no frame 122"):
        list(read_frames("worker-zone-detection.mp4", [122]))
