# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from helmet_agent.errors import SourceMissing
from helmet_cloud.labels import IgnoreRegion
from helmet_cloud.training.classes import HEADS
from helmet_cloud.training.dataset import class_mask, dataset_digest, leave_out, load, split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_cloud.labels import LabelledPicture

    Draw = Callable[..., LabelledPicture]

ALL = HEADS | {"person"}


def test_near_duplicates_stay_on_one_side(tmp_path: Path, draw: Draw) -> None:
    pictures = []
    for index in range(60):
        original = draw(tmp_path / f"{index:03d}.png", index)
        copy = tmp_path / f"copy_{index:03d}.jpg"
        brighter = cv2.convertScaleAbs(cv2.imread(str(original.path)), alpha=1.0, beta=8)
        assert cv2.imwrite(str(copy), brighter, [cv2.IMWRITE_JPEG_QUALITY, 60])
        pictures += [original, replace(original, path=copy)]
    training, validation = split(pictures, 0.3)
    assert len(training) + len(validation) == 120
    assert 5 <= len(validation) <= 70
    seeds = [{picture.path.stem[-3:] for picture in side} for side in (training, validation)]
    assert not seeds[0] & seeds[1]


def test_split_does_not_depend_on_the_order(pictures: list[LabelledPicture]) -> None:
    one, other = split(pictures, 0.4), split(pictures[::-1], 0.4)
    assert {p.path for p in one[1]} == {p.path for p in other[1]}
    assert one[1], "twelve pictures and a share of .4 leave some to validate"


def test_split_of_nothing_is_nothing() -> None:
    assert split([]) == ([], [])


def test_objects_of_incomplete_labels_are_left_out(tmp_path: Path, draw: Draw) -> None:
    picture = draw(tmp_path / "a.png", 1, complete=HEADS)
    assert load(picture).classes.tolist() == [2]
    assert class_mask(picture).tolist() == [0, 0, 1, 1]
    assert load(replace(picture, complete=ALL)).classes.tolist() == [0, 2]


def test_leave_out_person_leaves_heads(tmp_path: Path, draw: Draw) -> None:
    (picture,) = leave_out([draw(tmp_path / "a.png", 1)], "person")
    assert load(picture).classes.tolist() == [2]


def test_undecided_region_without_label_counts_for_every_class(tmp_path: Path, draw: Draw) -> None:
    picture = replace(draw(tmp_path / "a.png", 1), ignore=(IgnoreRegion((1, 2, 30, 40)),))
    loaded = load(picture)
    assert loaded.classes[loaded.undecided].tolist() == [0, 1, 2, 3]
    assert loaded.boxes[loaded.undecided].tolist() == [[1, 2, 30, 40]] * 4


def test_boxes_follow_when_a_big_picture_is_halved(tmp_path: Path, draw: Draw) -> None:
    picture = draw(tmp_path / "a.png", 1, size=(2000, 1000))
    loaded = load(picture)
    assert loaded.picture.shape == (500, 1000, 3)
    assert loaded.boxes[0] == pytest.approx(np.array(picture.boxes[0].box) / 2)


def test_vanished_picture_is_named(tmp_path: Path, draw: Draw) -> None:
    picture = draw(tmp_path / "a.png", 1)
    picture.path.unlink()
    with pytest.raises(SourceMissing, match=r"a\.png"):
        load(picture)


def test_digest_names_contents_not_names_or_order(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    digest = dataset_digest(pictures)
    assert dataset_digest(pictures[::-1]) == digest
    moved = tmp_path / "elsewhere.png"
    moved.write_bytes(pictures[0].path.read_bytes())
    assert dataset_digest([replace(pictures[0], path=moved), *pictures[1:]]) == digest
    assert dataset_digest([replace(pictures[0], boxes=()), *pictures[1:]]) != digest
    assert dataset_digest(leave_out(pictures, "person")) != digest
