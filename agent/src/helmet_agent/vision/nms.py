# SPDX-License-Identifier: Apache-2.0
"""Overlap of boxes, and greedy suppression of the weaker of two that overlap too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def iou_matrix(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of every box with every other.

    Args:
        left: ``(n, 4)`` corners x1, y1, x2, y2.
        right: ``(m, 4)`` corners in the same pixels.

    Returns:
        ``(n, m)`` in [0, 1]; 0 where a box has no area.
    """
    corner = np.minimum(left[:, None, 2:], right[None, :, 2:]) - np.maximum(left[:, None, :2], right[None, :, :2])
    sides = np.maximum(corner, 0.0)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(left)[:, None] + areas(right)[None, :] - shared
    found: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0)
    return found


def areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas ``(n,)`` of boxes ``(n, 4)``; 0 where a corner lies on the wrong side."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float64)


def keep_best_of_class(boxes: NDArray[np.float64], classes: NDArray[np.intp], max_iou: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: ``(n, 4)`` corners, best score first.
        classes: ``(n,)`` class of each box.
        max_iou: a box that overlaps a kept one of its class by more than this is dropped.

    Returns:
        Indices of the kept boxes, in order.
    """
    drops = (iou_matrix(boxes, boxes) > max_iou) & (classes[:, None] == classes[None, :])
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    index = 0
    while index < alive.size:
        # Jumps from survivor to survivor: the loop turns once for each object, not for each candidate.
        step = int(np.argmax(alive[index:]))
        index += step
        if not alive[index]:
            break
        kept.append(index)
        alive &= ~drops[index]
        index += 1
    return np.array(kept, np.intp)
