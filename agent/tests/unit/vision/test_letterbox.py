# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.vision.letterbox import Letterbox, PreparedFrame

LETTERBOX = Letterbox(352, 640, 114)
SIDES = st.integers(1, 8000)
UNITS = st.floats(0.0, 1.0)


@given(SIDES, SIDES, st.tuples(UNITS, UNITS, UNITS, UNITS))
@settings(max_examples=400, deadline=None)
def test_boxes_inside_the_picture_survive_the_round_trip(
    height: int, width: int, edges: tuple[float, float, float, float]
) -> None:
    place = LETTERBOX.transform(height, width)
    box = np.array([edges]) * [width, height, width, height]
    assert np.abs(place.to_source(place.to_input(box)) - box).max() < 1e-3


@given(SIDES, SIDES, st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), max_size=5))
@settings(deadline=None)
def test_source_boxes_are_clipped_to_the_picture(
    height: int, width: int, boxes: list[tuple[float, float, float, float]]
) -> None:
    found = LETTERBOX.transform(height, width).to_source(boxes)
    assert found.shape == (len(boxes), 4)
    assert (found >= 0.0).all()
    assert (found[:, 0::2] <= width).all()
    assert (found[:, 1::2] <= height).all()


@given(SIDES, SIDES)
@settings(deadline=None)
def test_the_picture_fills_one_direction_centred_and_keeps_its_shape(height: int, width: int) -> None:
    place = LETTERBOX.transform(height, width)
    left, top, right, bottom = place.to_input([[0, 0, width, height]])[0]
    # halving leaves out less than one input pixel of an odd side, and a side has whole pixels
    assert -1e-9 <= left <= right <= 640 + 1 + 1e-9
    assert -1e-9 <= top <= bottom <= 352 + 1 + 1e-9
    assert right - left >= 1
    assert bottom - top >= 1
    assert right - left >= 639.5 or bottom - top >= 351.5
    assert abs(left - (640 - right)) <= 2
    assert abs(top - (352 - bottom)) <= 2
    scale = min(640 / width, 352 / height)
    assert right - left == pytest.approx(max(1, width * scale), abs=1.51)
    assert bottom - top == pytest.approx(max(1, height * scale), abs=1.51)


@pytest.mark.parametrize(
    ("height", "width"), [(1080, 1920), (720, 1280), (432, 768), (352, 640), (100, 90), (1081, 1923), (3001, 4003)]
)
def test_a_drawn_rectangle_lands_where_its_box_is_mapped(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    box = [width // 4, height // 5, width * 3 // 4, height * 4 // 5]
    image[box[1] : box[3], box[0] : box[2]] = 255
    prepared = LETTERBOX.prepare(image)
    bright = prepared.pixels[..., 0].astype(int)
    inside = bright > 127
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert np.abs(prepared.transform.to_input([box])[0] - found).max() <= 0.75


def test_interpolation_does_not_shift_the_picture() -> None:
    # the centre of mass of a soft blob is known to a hundredth of a pixel, unlike an edge
    image = np.zeros((1080, 1920, 3), np.uint8)
    cv2.circle(image, (1500, 300), 60, (255, 255, 255), -1, cv2.LINE_AA)
    prepared = LETTERBOX.prepare(image)
    place = prepared.transform
    inner = prepared.pixels[:, place.offset_x : -place.offset_x, 0].astype(float)
    weight = inner.sum()
    x = (inner.sum(axis=0) * (np.arange(inner.shape[1]) + 0.5)).sum() / weight + place.offset_x
    y = (inner.sum(axis=1) * (np.arange(inner.shape[0]) + 0.5)).sum() / weight + place.offset_y
    assert place.to_source([[x, y, x, y]])[0][:2] == pytest.approx([1500.5, 300.5], abs=0.1)


def test_large_pictures_are_averaged_not_sampled() -> None:
    # one-pixel stripes: sampling would show black and white, averaging shows grey
    image = np.zeros((1080, 1920, 3), np.uint8)
    image[:, ::2] = 255
    prepared = LETTERBOX.prepare(image)
    inner = prepared.pixels[:, 10:-10]
    assert inner.min() > 120
    assert inner.max() < 136


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1, 1), (8000, 8000), (7, 3), (2, 6001)])
def test_every_shape_shows_at_least_a_pixel(height: int, width: int) -> None:
    prepared = LETTERBOX.prepare(np.full((height, width, 3), 7, np.uint8))
    assert prepared.pixels.shape == (352, 640, 3)
    assert (prepared.pixels == 7).any()
    assert (prepared.pixels[(prepared.pixels != 114).any(axis=2)] == 7).all()


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(1, 1500)), min_size=2, max_size=4))
@settings(max_examples=30, deadline=None)
def test_a_reused_buffer_gives_what_a_fresh_one_does(sizes: list[tuple[int, int]]) -> None:
    reuse: PreparedFrame | None = None
    for number, (height, width) in enumerate(sizes):
        image = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        reuse = LETTERBOX.prepare(image, reuse)
        fresh = LETTERBOX.prepare(image)
        assert np.array_equal(reuse.pixels, fresh.pixels)
        assert reuse.transform == fresh.transform


def test_frames_of_one_source_share_all_buffers() -> None:
    first = LETTERBOX.prepare(np.zeros((1080, 1920, 3), np.uint8))
    pixels, halves = first.pixels, first.halves
    second = LETTERBOX.prepare(np.full((1080, 1920, 3), 9, np.uint8), first)
    assert second is first
    assert second.pixels is pixels
    assert len(halves) == 1
    assert second.halves[0] is halves[0]
    assert (pixels[:, 100] == 9).all()


def test_a_buffer_of_another_network_is_left_alone() -> None:
    other = Letterbox(64, 64).prepare(np.full((64, 64, 3), 5, np.uint8))
    mine = LETTERBOX.prepare(np.zeros((352, 640, 3), np.uint8), other)
    assert mine is not other
    assert (other.pixels == 5).all()
    assert mine.pixels.shape == (352, 640, 3)


def test_the_picture_of_the_source_is_not_changed() -> None:
    image = np.random.default_rng(1).integers(0, 256, (1080, 1920, 3), np.uint8)
    copy = image.copy()
    LETTERBOX.prepare(image)
    assert np.array_equal(image, copy)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
    ids=["grey", "four channels", "float", "empty"],
)
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a uint8 picture"):
        LETTERBOX.prepare(image)
