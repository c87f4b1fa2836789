# SPDX-License-Identifier: Apache-2.0
"""Score thresholds from the validation part: for each label the score that gives the best F1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from helmet_cloud.evaluation.curves import precision_recall
from helmet_cloud.evaluation.figures import DEFAULT_SCORE_THRESHOLD
from helmet_cloud.evaluation.matching import match_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.contract import Detection
    from helmet_cloud.labels import LabelledPicture

LOWEST, HIGHEST = 0.1, 0.6
"""Where a threshold may lie: under it int8 scores are noise, over it one lucky curve would hide people."""

_HALF = np.array([0.5])


def choose_thresholds(
    pictures: Sequence[LabelledPicture],
    predictions: Sequence[Sequence[Detection]],
    labels: Sequence[str],
    *,
    low: float = LOWEST,
    high: float = HIGHEST,
    default: float = DEFAULT_SCORE_THRESHOLD,
) -> dict[str, float]:
    """For each label the score with the largest F1 at IoU 0.5, clamped to [low, high].

    Of several scores with the same F1 the highest wins: fewer boxes for the same worth. Never choose thresholds on the
    pictures that the model is judged on.

    Args:
        pictures: the validation part.
        predictions: one sequence for each picture, down to at most ``low``.
        labels: what to choose for.
        low: smallest answer.
        high: largest answer.
        default: for a label without objects or without a single right prediction.
    """
    best = {label: _best_score(pictures, predictions, label) for label in labels}
    return {label: default if score is None else min(max(score, low), high) for label, score in best.items()}


def _best_score(
    pictures: Sequence[LabelledPicture], predictions: Sequence[Sequence[Detection]], label: str
) -> float | None:
    matches = match_label(pictures, predictions, label, _HALF)
    if not matches.objects:
        return None
    curve = precision_recall(matches, 0)
    # A threshold takes all predictions of equal score or none: only the last of equals is a point one can choose.
    last = np.append(np.diff(curve.scores) != 0, True)[: len(curve.scores)]
    both = curve.precision + curve.recall
    f1 = np.where(last & (both > 0), 2 * curve.precision * curve.recall / np.where(both > 0, both, 1.0), 0.0)
    if not f1.any():
        return None
    return float(curve.scores[np.argmax(f1)])
