# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import Detection
from helmet_agent.testing import LABELS
from helmet_agent.vision.drawing import draw_detections

GREY = np.full((480, 640, 3), 90, np.uint8)
# Vienot, Brettel and Mollon (1999): what is left of linear RGB without green or red cones
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
PROTANOPIA = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])


def box_colour(label: str) -> np.ndarray:
    """BGR in the middle of the left edge of a box."""
    drawn = draw_detections(GREY, [Detection(label, 0.5, (200, 100, 400, 400))])
    return drawn[250, 200]


def line_width(label: str, size: tuple[int, int] = (480, 640)) -> int:
    image = np.full((*size, 3), 90, np.uint8)
    box = (size[1] * 0.25, size[0] * 0.25, size[1] * 0.75, size[0] * 0.75)
    row = draw_detections(image, [Detection(label, 0.5, box)])[size[0] // 2, : size[1] // 2]
    return int((row != 90).any(axis=1).sum())


def test_the_frame_itself_is_not_touched() -> None:
    image = GREY.copy()
    image.flags.writeable = False
    drawn = draw_detections(image, [Detection("helmet-off", 0.5, (200, 100, 400, 400))])
    assert (image == 90).all()
    assert (drawn != image).any()


def test_without_detections_it_is_a_copy() -> None:
    drawn = draw_detections(GREY, [])
    assert np.array_equal(drawn, GREY)
    assert not np.shares_memory(drawn, GREY)


def test_only_the_neighbourhood_of_boxes_changes() -> None:
    drawn = draw_detections(GREY, [Detection("helmet-on", 0.5, (200, 100, 260, 160))])
    changed = (drawn != 90).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert 70 < rows[0] < 100
    assert rows[-1] < 166
    assert columns[0] > 190
    assert not changed[120:140, 220:240].any()  # the head stays visible


@pytest.mark.parametrize("eye", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["any", "deuteranopia", "protanopia"])
def test_colours_are_told_apart_by_every_eye(eye: np.ndarray) -> None:
    seen = {label: eye @ (box_colour(label)[::-1] / 255.0) ** 2.2 for label in LABELS}
    for one, other in combinations(LABELS, 2):
        assert np.abs(seen[one] - seen[other]).max() > 0.15, (one, other)


def test_a_bare_head_has_the_boldest_line() -> None:
    widths = {label: line_width(label) for label in LABELS}
    assert widths["helmet-off"] > widths["helmet-on"] >= widths["person"]


def test_lines_grow_with_the_picture() -> None:
    assert line_width("helmet-off", (1080, 1920)) > line_width("helmet-off", (432, 768))


def test_a_bare_head_is_drawn_over_everything_else() -> None:
    box = (200.0, 100.0, 400.0, 400.0)
    found = [Detection("helmet-off", 0.3, box), Detection("helmet-on", 0.9, box), Detection("person", 0.9, box)]
    assert np.array_equal(draw_detections(GREY, found)[250, 200], box_colour("helmet-off"))


def test_the_order_of_detections_does_not_matter() -> None:
    found = [Detection(label, 0.5, (100.0 + 20 * n, 100.0, 300.0, 300.0 + n)) for n, label in enumerate(LABELS)]
    assert np.array_equal(draw_detections(GREY, found), draw_detections(GREY, found[::-1]))


def test_a_label_nobody_knows_is_drawn_too() -> None:
    assert (box_colour("forklift") != 90).any()


EDGES = st.floats(-3000, 3000, allow_nan=False)


@given(
    st.sampled_from([(1, 1), (3, 900), (480, 640), (40, 30)]),
    st.lists(
        st.builds(
            lambda label, score, x, y, w, h: Detection(label, score, (x, y, x + abs(w), y + abs(h))),
            st.sampled_from([*LABELS, "forklift"]), st.floats(0, 1), EDGES, EDGES, EDGES, EDGES,
        ),
        max_size=5,
    ),
)  # fmt: skip
@settings(deadline=None, max_examples=50)
def test_no_box_is_too_odd_to_draw(size: tuple[int, int], found: list[Detection]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    assert draw_detections(image, found).shape == image.shape
