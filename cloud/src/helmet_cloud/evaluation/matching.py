# SPDX-License-Identifier: Apache-2.0
"""Which prediction found which object: greedy, best score first, one prediction to one object.

The rules are those of the COCO evaluation (Lin et al., Microsoft COCO, arXiv:1405.0312, and its published evaluation
program): within one picture and label the predictions are taken by falling score; each takes the free object that it
overlaps most, if the overlap reaches the threshold; failing that, a prediction that lies in an ignore region is not
counted; all others are false. Equal scores keep their order, of equal overlaps the later object is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.contract import Box, Detection
    from helmet_cloud.labels import LabelledPicture

Floats = NDArray[np.float64]

TRUE = 1
FALSE = 0
IGNORED = -1

_ALMOST_ONE = 1 - 1e-10  # a threshold of 1 must not fail on the last bit of a perfect overlap


@dataclass(frozen=True, slots=True)
class Matches:
    """All predictions of one label over all pictures, best score first, ties in the order of pictures.

    Attributes:
        scores: ``[predictions]``, falling.
        outcomes: ``[iou thresholds, predictions]`` int8 of TRUE, FALSE and IGNORED.
        objects: how many objects there were to find.
        pictures: how many pictures were completely labelled for this label; only these take part.
    """

    scores: Floats
    outcomes: NDArray[np.int8]
    objects: int
    pictures: int


def match_label(
    pictures: Sequence[LabelledPicture],
    predictions: Sequence[Sequence[Detection]],
    label: str,
    iou_thresholds: Floats,
    max_detections: int | None = None,
) -> Matches:
    """Matches the predictions of one label in every picture that is complete for it.

    Args:
        pictures: the truth.
        predictions: what the model saw, one sequence for each picture; any order, other labels are skipped.
        label: the label to look at.
        iou_thresholds: overlaps from which a prediction counts as having found an object, each in (0, 1].
        max_detections: best predictions of this label kept in a picture; None: all.
    """
    scores: list[Floats] = [np.zeros(0)]
    outcomes = [np.zeros((len(iou_thresholds), 0), np.int8)]
    objects = 0
    used = 0
    for picture, found in zip(pictures, predictions, strict=True):
        if label not in picture.complete:
            continue
        used += 1
        truth = _array([box.box for box in picture.boxes if box.label == label])
        regions = _array([region.box for region in picture.ignore if region.label in (None, label)])
        objects += len(truth)
        mine = [prediction for prediction in found if prediction.label == label]
        if not mine:
            continue
        score = np.array([prediction.score for prediction in mine], np.float64)
        order = np.argsort(-score, kind="stable")[:max_detections]
        boxes = _array([prediction.box for prediction in mine])[order]
        scores.append(score[order])
        outcomes.append(match_picture(boxes, truth, regions, iou_thresholds))
    all_scores = np.concatenate(scores)
    order = np.argsort(-all_scores, kind="stable")
    return Matches(all_scores[order], np.concatenate(outcomes, axis=1)[:, order], objects, used)


def match_picture(boxes: Floats, objects: Floats, regions: Floats, iou_thresholds: Floats) -> NDArray[np.int8]:
    """Outcome of each prediction of one label in one picture at each threshold.

    Args:
        boxes: predictions ``[D, 4]``, best score first.
        objects: ``[G, 4]``.
        regions: ignore regions ``[R, 4]``.
        iou_thresholds: ``[T]``.

    Returns:
        ``[T, D]`` of TRUE, FALSE and IGNORED.
    """
    thresholds = np.minimum(iou_thresholds, _ALMOST_ONE)[:, None]
    overlaps = overlap(boxes, objects)
    inside = coverage(boxes, regions).max(axis=1, initial=0.0)
    outcomes = np.where(inside[None, :] >= thresholds, IGNORED, FALSE).astype(np.int8)
    if not len(objects):
        return outcomes
    free = np.ones((len(iou_thresholds), len(objects)), bool)
    for index in np.flatnonzero(overlaps.max(axis=1) >= thresholds.min()):
        row = overlaps[index]
        reached = free & (row >= thresholds)
        # argmax takes the first of equals; looking from behind gives the last, as COCO's program does
        best = len(row) - 1 - np.argmax(np.where(reached, row, -1.0)[:, ::-1], axis=1)
        levels = np.flatnonzero(reached.any(axis=1))
        outcomes[levels, index] = TRUE
        free[levels, best[levels]] = False
    return outcomes


def overlap(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union ``[D, G]`` of boxes ``[D, 4]`` and ``[G, 4]``, each (x1, y1, x2, y2)."""
    shared = _intersection(boxes, others)
    union = _area(boxes)[:, None] + _area(others)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def coverage(boxes: Floats, regions: Floats) -> Floats:
    """Share ``[D, R]`` of each box that lies in each region: COCO's overlap with a crowd."""
    shared = _intersection(boxes, regions)
    area = np.broadcast_to(_area(boxes)[:, None], shared.shape)
    return np.divide(shared, area, out=np.zeros_like(shared), where=area > 0)


def _intersection(boxes: Floats, others: Floats) -> Floats:
    corner = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    size: Floats = np.maximum(corner, 0.0).prod(axis=2)
    return size


def _area(boxes: Floats) -> Floats:
    size: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return size


def _array(boxes: Sequence[Box]) -> Floats:
    return np.array(boxes, np.float64).reshape(-1, 4)
