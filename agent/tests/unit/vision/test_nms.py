# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.vision.nms import iou_matrix, keep_best_of_class

# whole numbers make overlaps land exactly on thresholds such as 1/3 and 1/2
EDGES = st.integers(0, 12)
BOXES = st.lists(st.tuples(EDGES, EDGES, EDGES, EDGES, st.integers(0, 2)), max_size=40)
IOUS = st.sampled_from([0.0, 0.2, 1 / 3, 0.4, 0.5, 1.0])


def naive_iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    sizes = [max(0.0, c[2] - c[0]) * max(0.0, c[3] - c[1]) for c in (a, b)]
    union = sizes[0] + sizes[1] - shared
    return shared / union if union > 0 else 0.0


def naive_nms(boxes: list[list[float]], classes: list[int], max_iou: float) -> list[int]:
    kept: list[int] = []
    for index, box in enumerate(boxes):
        if all(classes[k] != classes[index] or naive_iou(boxes[k], box) <= max_iou for k in kept):
            kept.append(index)
    return kept


@given(BOXES, IOUS)
@settings(max_examples=300, deadline=None)
def test_suppression_is_the_textbook_one(drawn: list[tuple[int, int, int, int, int]], max_iou: float) -> None:
    boxes = [[float(edge) for edge in one[:4]] for one in drawn]
    classes = [one[4] for one in drawn]
    kept = keep_best_of_class(np.array(boxes, np.float64).reshape(-1, 4), np.array(classes, np.intp), max_iou)
    assert kept.tolist() == naive_nms(boxes, classes, max_iou)


@given(BOXES, BOXES)
@settings(deadline=None)
def test_overlap_is_the_textbook_one(
    left: list[tuple[int, int, int, int, int]], right: list[tuple[int, int, int, int, int]]
) -> None:
    a, b = ([[float(edge) for edge in one[:4]] for one in side] for side in (left, right))
    found = iou_matrix(np.array(a, np.float64).reshape(-1, 4), np.array(b, np.float64).reshape(-1, 4))
    assert found.tolist() == [[naive_iou(x, y) for y in b] for x in a]


def test_an_overlap_of_exactly_the_limit_stays() -> None:
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 1]], np.float64)
    assert keep_best_of_class(boxes, np.zeros(2, np.intp), 0.5).tolist() == [0, 1]
    assert keep_best_of_class(boxes, np.zeros(2, np.intp), 0.499).tolist() == [0]
