# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from helmet_cloud.training.assign import Objects, assign, box_iou, decode_boxes, make_grid

pytestmark = pytest.mark.training

HEIGHT, WIDTH, CLASSES = 64, 96, 4
GRID = make_grid(HEIGHT, WIDTH)
PLACES = 8 * 12 + 4 * 6 + 2 * 3


def objects(*marks: tuple[list[float], int, int]) -> Objects:
    return Objects(
        tf.constant([box for box, _, _ in marks], tf.float32),
        tf.constant([label for _, label, _ in marks], tf.int32),
        tf.constant([owner for _, _, owner in marks], tf.int32),
    )


def everywhere(box: list[float], pictures: int = 1) -> tf.Tensor:
    """Every place says the same box."""
    return tf.tile(tf.constant([[box]], tf.float32), [pictures, PLACES, 1])


def test_grid_runs_through_levels_row_by_row() -> None:
    corners, strides = np.asarray(GRID.corners), np.asarray(GRID.strides)
    assert corners.shape == (PLACES, 2)
    assert corners[:2].tolist() == [[0, 0], [8, 0]]
    assert corners[12].tolist() == [0, 8]
    assert (strides[0], strides[96], strides[-1]) == (8, 16, 32)
    assert np.asarray(GRID.centres)[-1].tolist() == [80, 48]


def test_boxes_decode_as_the_contract_says() -> None:
    raw = np.zeros((1, PLACES, 4), np.float32)
    raw[0, 13] = [0.5, -0.25, np.log(2.0), np.log(3.0)]  # cell (1, 1) of stride 8
    box = np.asarray(decode_boxes(raw, GRID))[0, 13]
    assert box == pytest.approx([12 - 8, 6 - 12, 12 + 8, 6 + 12])


def test_iou_of_known_boxes() -> None:
    iou, giou = box_iou(tf.constant([0.0, 0, 10, 10]), tf.constant([[5.0, 0, 15, 10], [0, 0, 10, 10], [20, 0, 30, 10]]))
    assert np.asarray(iou) == pytest.approx([1 / 3, 1, 0])
    assert np.asarray(giou) == pytest.approx([1 / 3, 1, -1 / 3])


def test_best_places_lie_in_the_object_and_reach_its_best_iou() -> None:
    box = [16.0, 8.0, 64.0, 56.0]
    scores = tf.fill([1, PLACES, CLASSES], 0.3)
    found = assign(scores, everywhere([20.0, 8, 64, 56]), GRID, objects((box, 2, 0)))
    places = np.asarray(found.places)
    assert len(places) == 10
    centres = np.asarray(GRID.centres)[places[:, 1]]
    assert ((centres > box[:2]) & (centres < box[2:])).all()
    assert np.asarray(found.targets) == pytest.approx(44 / 48)
    assert set(np.asarray(found.classes).tolist()) == {2}


def test_tiny_object_between_grid_points_still_gets_a_place() -> None:
    found = assign(
        tf.fill([1, PLACES, CLASSES], 0.01), everywhere([0.0, 0, 5, 5]), GRID, objects(([31.0, 31, 33, 33], 3, 0))
    )
    assert len(np.asarray(found.places)) > 0


def test_place_wanted_by_two_goes_to_the_one_it_overlaps_most() -> None:
    low, high = [8.0, 8.0, 40.0, 40.0], [16.0, 16.0, 48.0, 48.0]
    found = assign(
        tf.fill([1, PLACES, CLASSES], 0.5), everywhere([15.0, 15, 47, 47]), GRID, objects((low, 0, 0), (high, 0, 0))
    )
    places, boxes = np.asarray(found.places), np.asarray(found.boxes)
    assert len({tuple(place) for place in places}) == len(places)
    shared = [box for place, box in zip(places, boxes, strict=True) if _in(place[1], low) and _in(place[1], high)]
    assert shared
    assert all(box.tolist() == high for box in shared)


def _in(place: int, box: list[float]) -> bool:
    x, y = np.asarray(GRID.centres)[place]
    return bool(box[0] < x < box[2] and box[1] < y < box[3])


def test_objects_take_places_of_their_own_picture_only() -> None:
    found = assign(
        tf.fill([3, PLACES, CLASSES], 0.5),
        everywhere([16.0, 8, 64, 56], 3),
        GRID,
        objects(([16.0, 8, 64, 56], 0, 2), ([16.0, 8, 64, 56], 1, 0)),
    )
    owners, labels = np.asarray(found.places)[:, 0], np.asarray(found.classes)
    assert set(zip(owners.tolist(), labels.tolist(), strict=True)) == {(2, 0), (0, 1)}


def test_no_object_no_place() -> None:
    nothing = Objects(tf.zeros([0, 4]), tf.zeros([0], tf.int32), tf.zeros([0], tf.int32))
    found = assign(tf.fill([2, PLACES, CLASSES], 0.5), everywhere([0.0, 0, 9, 9], 2), GRID, nothing)
    assert np.asarray(found.places).shape == (0, 2)
