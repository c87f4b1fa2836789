# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from helmet_agent.contract import Detection
from helmet_cloud.evaluation import choose_thresholds, evaluate_detections
from helmet_cloud.labels import LABELS, LabelBox, LabelledPicture

A = (10.0, 10.0, 30.0, 30.0)
FAR = (60.0, 60.0, 80.0, 80.0)


def scene(label: str, right: list[float], wrong: list[float]) -> tuple[list[LabelledPicture], list[list[Detection]]]:
    """One object a picture, found with these scores; and as many false predictions."""
    pictures = [LabelledPicture(Path("p.jpg"), 100, 100, (LabelBox(label, A),)) for _ in right]
    seen = [[Detection(label, score, A)] for score in right]
    seen[-1] += [Detection(label, score, FAR) for score in wrong]
    return pictures, seen


def test_the_threshold_parts_right_from_wrong() -> None:
    pictures, seen = scene("person", [0.9, 0.5, 0.32], [0.31, 0.2, 0.15])
    thresholds = choose_thresholds(pictures, seen, LABELS)
    assert thresholds["person"] == 0.32
    report = evaluate_detections(pictures, seen, LABELS, thresholds)
    assert report.per_class["person"].f1 == 1.0


def test_it_stays_within_its_limits() -> None:
    assert choose_thresholds(*scene("person", [0.05, 0.04], []), LABELS)["person"] == 0.1
    assert choose_thresholds(*scene("person", [0.95, 0.9], [0.85]), LABELS)["person"] == 0.6
    assert choose_thresholds(*scene("person", [0.95, 0.9], [0.85]), LABELS, high=0.8)["person"] == 0.8


def test_equal_scores_are_taken_together() -> None:
    # In order of arrival the right one of the three equals comes first; no threshold can take it alone.
    pictures, seen = scene("person", [0.5, 0.3], [0.3] * 8)
    assert choose_thresholds(pictures, seen, LABELS)["person"] == 0.5


def test_of_equal_worth_the_higher_score_wins() -> None:
    # f1 is 2/3 at 0.5 (1 of 1, 1 of 2) and again at 0.3 (2 of 4, 2 of 2)
    pictures, seen = scene("person", [0.5, 0.3], [0.4, 0.35])
    assert choose_thresholds(pictures, seen, LABELS)["person"] == 0.5


def test_without_evidence_it_is_the_default() -> None:
    pictures, _ = scene("person", [0.9], [])
    assert choose_thresholds(pictures, [[Detection("person", 0.9, FAR)]], LABELS) == dict.fromkeys(LABELS, 0.25)
    assert choose_thresholds(pictures, [[]], LABELS, default=0.3) == dict.fromkeys(LABELS, 0.3)
