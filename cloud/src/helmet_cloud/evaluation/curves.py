# SPDX-License-Identifier: Apache-2.0
"""Precision and recall as the score threshold falls, and the area under that curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from helmet_cloud.evaluation.matching import IGNORED, TRUE

if TYPE_CHECKING:
    from helmet_cloud.evaluation.matching import Floats, Matches

COCO_RECALLS = np.linspace(0.0, 1.0, 101)
"""The recall levels at which the COCO evaluation samples precision."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall after each counted prediction, best score first; three arrays of equal length."""

    scores: Floats
    precision: Floats
    recall: Floats


def precision_recall(matches: Matches, level: int) -> Curve:
    """The curve at one of the IoU thresholds; ignored predictions are no points of it.

    Args:
        matches: with at least one object, else recall is undefined.
        level: index of the IoU threshold.
    """
    outcomes = matches.outcomes[level]
    counted = outcomes != IGNORED
    right = np.cumsum(outcomes[counted] == TRUE, dtype=np.float64)
    number = np.arange(1, len(right) + 1)
    return Curve(matches.scores[counted], right / number, right / matches.objects)


def average_precision(curve: Curve) -> float:
    """Area under the curve's envelope, every point used.

    This is the all-point interpolation of PASCAL VOC since 2010 (Everingham et al., development kit 2010, section
    3.4.1): the precision at a recall is the best precision at that or any higher recall.
    """
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * _envelope(curve.precision)))


def coco_average_precision(curve: Curve) -> float:
    """Mean of the envelope at 101 recall levels, 0 where the recall is never reached (COCO's definition)."""
    at = np.searchsorted(curve.recall, COCO_RECALLS, side="left")
    envelope = np.append(_envelope(curve.precision), 0.0)
    return float(envelope[at].mean())


def thin(curve: Curve) -> Curve:
    """At most 102 of the curve's own points: the first that reaches each whole per cent of recall, and the last."""
    if not len(curve.recall):
        return curve
    at = np.searchsorted(curve.recall, COCO_RECALLS, side="left")
    at = np.unique(np.append(at[at < len(curve.recall)], len(curve.recall) - 1))
    return Curve(curve.scores[at], curve.precision[at], curve.recall[at])


def _envelope(precision: Floats) -> Floats:
    best: Floats = np.maximum.accumulate(precision[::-1])[::-1]
    return best
