# SPDX-License-Identifier: Apache-2.0
"""From predictions and truth to a report: no model, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from helmet_agent.errors import AgentError
from helmet_cloud.evaluation.curves import (
    Curve,
    average_precision,
    coco_average_precision,
    precision_recall,
    thin,
)
from helmet_cloud.evaluation.matching import IGNORED, TRUE, Matches, match_label
from helmet_cloud.evaluation.report import ClassFigures, CurvePoint, EvaluationReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.contract import Detection
    from helmet_cloud.labels import LabelledPicture

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""0.50, 0.55 ... 0.95."""

DEFAULT_SCORE_THRESHOLD = 0.25


class NothingToMeasure(AgentError):  # noqa: N818 - a refusal with its reason rather than a fault
    """No label has an object in pictures that are completely labelled for it, so there is no figure to give."""


def evaluate_detections(
    pictures: Sequence[LabelledPicture],
    predictions: Sequence[Sequence[Detection]],
    labels: Sequence[str],
    score_thresholds: Mapping[str, float] | float = DEFAULT_SCORE_THRESHOLD,
    *,
    max_detections: int | None = None,
    model: str | None = None,
) -> EvaluationReport:
    """Compares what a model saw with what people marked.

    Each label is measured on the pictures that are completely labelled for it. A label without objects there is left
    out and named with the reason; a label with objects but without predictions has precision 0, recorded.

    Args:
        pictures: the truth.
        predictions: one sequence for each picture, in the same order, down to a low score (0.01), so that the whole
            curve is there. Labels that are not in ``labels`` are not looked at.
        labels: what to measure, in the order of the report.
        score_thresholds: where precision, recall and F1 are taken; one number, or one for each label.
        max_detections: best predictions of a label kept in a picture (COCO keeps 100); None: all.
        model: sha256 of the model file, for the report.

    Raises:
        NothingToMeasure: no label has an object.
        ValueError: the lists differ in length, a threshold is missing, or a score or box is not finite.
    """
    _check(pictures, predictions)
    thresholds = {
        label: score_thresholds[label] if isinstance(score_thresholds, Mapping) else score_thresholds
        for label in labels
        if not isinstance(score_thresholds, Mapping) or label in score_thresholds
    }
    if missing := [label for label in labels if label not in thresholds]:
        raise ValueError(f"no score threshold for {', '.join(missing)}")
    per_class: dict[str, ClassFigures] = {}
    curves: dict[str, tuple[CurvePoint, ...]] = {}
    left_out: dict[str, str] = {}
    for label in labels:
        matches = match_label(pictures, predictions, label, IOU_THRESHOLDS, max_detections)
        if matches.objects == 0:
            left_out[label] = _why_left_out(matches, thresholds[label])
            continue
        curve = precision_recall(matches, 0)
        per_class[label] = _figures(matches, curve, thresholds[label])
        curves[label] = _points(curve)
    if not per_class:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in left_out.items())
        raise NothingToMeasure(
            f"nothing to measure in {len(pictures)} pictures: {reasons or 'no labels were asked for'}"
        )
    return EvaluationReport(
        per_class=per_class,
        left_out=left_out,
        map50=_mean([figures.ap50 for figures in per_class.values()]),
        map50_95=_mean([figures.ap50_95 for figures in per_class.values()]),
        coco_map50=_mean([figures.coco_ap50 for figures in per_class.values()]),
        coco_map50_95=_mean([figures.coco_ap50_95 for figures in per_class.values()]),
        pictures=len(pictures),
        thresholds=thresholds,
        model=model,
        curves=curves,
    )


def _figures(matches: Matches, at_half: Curve, threshold: float) -> ClassFigures:
    curves = [at_half, *(precision_recall(matches, level) for level in range(1, len(IOU_THRESHOLDS)))]
    all_point = [average_precision(curve) for curve in curves]
    coco = [coco_average_precision(curve) for curve in curves]
    # Taking the best first makes the matches above a threshold independent of whatever lies below it.
    shown = matches.outcomes[0][matches.scores >= threshold]
    found = int(np.sum(shown == TRUE))
    predictions = int(np.sum(shown != IGNORED))
    precision = found / predictions if predictions else 0.0
    recall = found / matches.objects
    return ClassFigures(
        objects=matches.objects,
        pictures=matches.pictures,
        predictions=predictions,
        found=found,
        threshold=threshold,
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if found else 0.0,
        ap50=all_point[0],
        ap50_95=_mean(all_point),
        coco_ap50=coco[0],
        coco_ap50_95=_mean(coco),
    )


def _points(curve: Curve) -> tuple[CurvePoint, ...]:
    kept = thin(curve)
    return tuple(
        CurvePoint(round(float(score), 4), round(float(precision), 4), round(float(recall), 4))
        for score, precision, recall in zip(kept.scores, kept.precision, kept.recall, strict=True)
    )


def _why_left_out(matches: Matches, threshold: float) -> str:
    if matches.pictures == 0:
        return "no picture is completely labelled for it"
    false = int(np.sum((matches.outcomes[0] != IGNORED) & (matches.scores >= threshold)))
    seen = f"; the model claims {false} at score {threshold:g}" if false else ""
    return f"no object in {matches.pictures} pictures{seen}"


def _check(pictures: Sequence[LabelledPicture], predictions: Sequence[Sequence[Detection]]) -> None:
    if len(pictures) != len(predictions):
        raise ValueError(f"{len(pictures)} pictures but predictions for {len(predictions)}")
    for picture, found in zip(pictures, predictions, strict=True):
        for prediction in found:
            if not all(math.isfinite(value) for value in (prediction.score, *prediction.box)):
                raise ValueError(f"{picture.path}: a prediction is not finite: {prediction}")


def _mean(values: Sequence[float]) -> float:
    # rounding in the sum must not lift a mean of ones above one
    return min(1.0, math.fsum(values) / len(values))
