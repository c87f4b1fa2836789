# SPDX-License-Identifier: Apache-2.0
"""Which places of the network's grids answer for which labelled object.

Task-aligned assignment after TOOD (Feng et al., arXiv:2108.07755): alignment t = score^0.5 * IoU^6; each object takes
its ten best aligned places, a place wanted by several objects goes to the one it overlaps most, and the class target of
a place is its alignment, normalised so that the best place of an object gets the object's best IoU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from helmet_cloud.training.classes import STRIDES

SCORE_POWER = 0.5
IOU_POWER = 6.0
PLACES_PER_OBJECT = 10

SMALLEST_HALF_SIDE = 6.0
"""Smaller objects (px) may hold no grid point of stride 8 at all; they count as this big when candidates are taken."""

LARGEST_LOG_SIZE = 6.0
"""exp is cut at e^6 strides: wider than any picture, and it keeps an early wild guess finite."""


class Grid(NamedTuple):
    """The A places of all levels: strides 8, 16, 32 in turn, row by row.

    Attributes:
        corners: ``[A, 2]`` float32, x and y of the cell's top left in px.
        strides: ``[A]`` float32.
    """

    corners: Any
    strides: Any

    @property
    def centres(self) -> Any:
        """``[A, 2]``: x and y of the cell's centre in px."""
        return self.corners + self.strides[:, None] * 0.5


class Objects(NamedTuple):
    """Marks of a batch as tensors: boxes ``[G, 4]`` px, classes and owners (pictures) ``[G]`` int32."""

    boxes: Any
    classes: Any
    owners: Any


class Assignment(NamedTuple):
    """The P positive places.

    Attributes:
        places: ``[P, 2]`` int32, picture and place.
        classes: ``[P]`` int32.
        targets: ``[P]`` float32, class targets in [0, 1].
        boxes: ``[P, 4]`` float32, the objects' corners in px.
    """

    places: Any
    classes: Any
    targets: Any
    boxes: Any


def make_grid(height: int, width: int) -> Grid:
    """The places of an input of this size (px, multiples of 32)."""
    corners, strides = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        x, y = tf.meshgrid(tf.range(columns), tf.range(rows))
        cells = tf.reshape(tf.stack([x, y], axis=-1), [-1, 2])
        corners.append(tf.cast(cells, tf.float32) * float(stride))
        strides.append(tf.fill([rows * columns], float(stride)))
    return Grid(tf.concat(corners, 0), tf.concat(strides, 0))


def decode_boxes(raw: Any, grid: Grid) -> Any:
    """Raw boxes ``[..., A, 4]`` (dx, dy, log w, log h) to corners: centre = cell + (dx, dy) s, size = exp(.) s."""
    stride = grid.strides[:, None]
    centre = raw[..., :2] * stride + grid.corners
    half = tf.exp(tf.minimum(raw[..., 2:], LARGEST_LOG_SIZE)) * stride * 0.5
    return tf.concat([centre - half, centre + half], -1)


def box_iou(a: Any, b: Any) -> tuple[Any, Any]:
    """IoU and generalised IoU (Rezatofighi et al., arXiv:1902.09630) of boxes that broadcast against each other."""
    low, high = tf.maximum(a[..., :2], b[..., :2]), tf.minimum(a[..., 2:], b[..., 2:])
    overlap = tf.reduce_prod(tf.maximum(high - low, 0.0), -1)
    area_a = tf.reduce_prod(tf.maximum(a[..., 2:] - a[..., :2], 0.0), -1)
    area_b = tf.reduce_prod(tf.maximum(b[..., 2:] - b[..., :2], 0.0), -1)
    union = tf.maximum(area_a + area_b - overlap, 1e-7)
    hull_low, hull_high = tf.minimum(a[..., :2], b[..., :2]), tf.maximum(a[..., 2:], b[..., 2:])
    hull = tf.maximum(tf.reduce_prod(tf.maximum(hull_high - hull_low, 0.0), -1), 1e-7)
    iou = overlap / union
    return iou, iou - (hull - union) / hull


def inside(grid: Grid, boxes: Any, smallest_half_side: float = SMALLEST_HALF_SIDE) -> Any:
    """``[G, A]`` bool: which places have their centre in which of ``boxes [G, 4]``."""
    middle = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    half = tf.maximum((boxes[:, 2:] - boxes[:, :2]) * 0.5, smallest_half_side)
    return tf.reduce_all(tf.abs(grid.centres[None] - middle[:, None]) < half[:, None], -1)


def assign(scores: Any, boxes: Any, grid: Grid, objects: Objects) -> Assignment:
    """Chooses places, given scores ``[B, A, C]`` and boxes ``[B, A, 4]`` (corners, px) as the network says them now."""
    iou, _ = box_iou(tf.gather(boxes, objects.owners), objects.boxes[:, None, :])
    by_class = tf.transpose(scores, [0, 2, 1])
    score = tf.gather_nd(by_class, tf.stack([objects.owners, objects.classes], -1))
    candidate = inside(grid, objects.boxes)
    # 1e-12: candidates without any overlap yet still rank above places outside the object
    alignment = tf.where(candidate, tf.pow(score, SCORE_POWER) * tf.pow(iou, IOU_POWER) + 1e-12, 0.0)

    _, best = tf.math.top_k(alignment, k=PLACES_PER_OBJECT)
    chosen = tf.reduce_max(tf.one_hot(best, tf.shape(alignment)[1], on_value=1, off_value=0, dtype=tf.int8), 1)
    wanted = candidate & (chosen > 0)
    claim = tf.where(wanted, iou, -1.0)
    strongest = tf.math.unsorted_segment_max(claim, objects.owners, tf.shape(boxes)[0])
    kept = wanted & (claim >= tf.gather(strongest, objects.owners))

    best_alignment = tf.reduce_max(tf.where(kept, alignment, 0.0), 1, keepdims=True)
    best_iou = tf.reduce_max(tf.where(kept, iou, 0.0), 1, keepdims=True)
    target = alignment / tf.maximum(best_alignment, 1e-12) * best_iou

    where = tf.cast(tf.where(kept), tf.int32)
    index, place = where[:, 0], where[:, 1]
    return Assignment(
        places=tf.stack([tf.gather(objects.owners, index), place], -1),
        classes=tf.gather(objects.classes, index),
        targets=tf.gather_nd(target, where),
        boxes=tf.gather(objects.boxes, index),
    )
