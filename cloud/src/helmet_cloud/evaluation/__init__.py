# SPDX-License-Identifier: Apache-2.0
"""What a model is worth: figures of the exact file that ships, on labelled pictures.

Every figure is computed here and nowhere else: training, the gate and the command line ask this room.
"""

from helmet_cloud.evaluation.figures import IOU_THRESHOLDS, NothingToMeasure, evaluate_detections
from helmet_cloud.evaluation.model import MIN_SCORE, detect_pictures, evaluate, open_detector
from helmet_cloud.evaluation.report import ClassFigures, CurvePoint, EvaluationReport
from helmet_cloud.evaluation.thresholds import choose_thresholds

__all__ = [
    "IOU_THRESHOLDS",
    "MIN_SCORE",
    "ClassFigures",
    "CurvePoint",
    "EvaluationReport",
    "NothingToMeasure",
    "choose_thresholds",
    "detect_pictures",
    "evaluate",
    "evaluate_detections",
    "open_detector",
]
