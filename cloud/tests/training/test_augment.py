# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from helmet_agent.vision.letterbox import Letterbox
from helmet_cloud.training import augment
from helmet_cloud.training.augment import Labelled

RED = (0, 0, 255)


def marked(width: int, height: int, box: tuple[int, int, int, int]) -> Labelled:
    """A dark picture with one red block and a mark round it."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[box[1] : box[3], box[0] : box[2]] = RED
    return Labelled(picture, np.array([box], np.float32), np.array([2], np.int32), np.array([False]))


def red_box(picture: np.ndarray) -> list[float]:
    rows, columns = np.nonzero((picture[:, :, 2] > 127) & (picture[:, :, 0] < 60))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("seed", range(20))
def test_box_stays_on_its_object_at_any_scale_and_place(seed: int) -> None:
    item = marked(300, 200, (100, 60, 180, 140))
    made = augment.single(item, 352, 640, np.random.default_rng(seed), (0.4, 1.2))
    assert len(made.boxes) == 1
    assert made.boxes[0] == pytest.approx(red_box(made.picture), abs=1.5)


@pytest.mark.parametrize("count", [4, 9])
@pytest.mark.parametrize("seed", range(8))
def test_mosaic_keeps_boxes_on_what_is_left_of_objects(count: int, seed: int) -> None:
    items = [marked(300, 200, (100, 60, 180, 140))] + [
        Labelled(
            np.zeros((150, 200, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
        )
    ] * (count - 1)
    made = augment.mosaic(items, 352, 640, np.random.default_rng(seed))
    assert made.picture.shape == (352, 640, 3)
    if len(made.boxes):
        assert made.boxes[0] == pytest.approx(red_box(made.picture), abs=1.5)


def test_letterbox_puts_boxes_where_the_agent_puts_them() -> None:
    item = marked(1280, 704, (100, 60, 400, 300))
    ours = augment.letterbox(item, 352, 640)
    theirs = Letterbox(352, 640, 114).prepare(item.picture)
    assert ours.boxes == pytest.approx(theirs.transform.to_input(item.boxes), abs=0.01)
    assert np.abs(ours.picture.astype(int) - theirs.pixels).mean() < 1.0


def test_cut_box_is_dropped_when_little_is_left() -> None:
    boxes = np.array([[-70, 0, 30, 50], [-50, 0, 50, 50], [10, 10, 12, 30]], np.float32)
    cut, keep = augment.cut_boxes(boxes, (0, 0, 100, 100))
    assert keep.tolist() == [False, True, False]
    assert cut[1].tolist() == [0, 0, 50, 50]


def test_mirror_twice_is_nothing() -> None:
    item = marked(301, 200, (100, 60, 180, 140))
    once = augment.mirror(item)
    assert once.boxes[0].tolist() == [121, 60, 201, 140]
    twice = augment.mirror(once)
    assert np.array_equal(twice.picture, item.picture)
    assert np.array_equal(twice.boxes, item.boxes)


def test_colours_and_faults_keep_size_and_marks() -> None:
    item = marked(64, 48, (10, 10, 30, 30))
    for seed in range(40):
        made = augment.finish(item, np.random.default_rng(seed))
        assert made.picture.shape == (48, 64, 3)
        assert made.picture.dtype == np.uint8
        assert len(made.boxes) == 1


def test_undecided_regions_move_with_the_picture() -> None:
    item = marked(300, 200, (100, 60, 180, 140))
    both = Labelled(item.picture, np.repeat(item.boxes, 2, axis=0), np.array([2, 3], np.int32), np.array([False, True]))
    made = augment.mirror(augment.letterbox(both, 352, 640))
    assert np.array_equal(made.boxes[0], made.boxes[1])
    assert made.undecided.tolist() == [False, True]
