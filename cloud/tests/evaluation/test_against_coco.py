# SPDX-License-Identifier: Apache-2.0
"""The figures agree with faster-coco-eval, an independent program, on data made to be awkward."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import Detection
from helmet_cloud.evaluation import NothingToMeasure, evaluate_detections
from helmet_cloud.labels import LABELS, IgnoreRegion, LabelBox, LabelledPicture

Predictions = list[tuple[Detection, ...]]
SIDE = 64


def coco_figures(pictures: list[LabelledPicture], predictions: Predictions, cap: int) -> dict[str, tuple[float, float]]:
    """AP50 and AP50-95 of each label that has objects, by the other program."""
    ids = {label: index + 1 for index, label in enumerate(LABELS)}
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures, 1):
        marks = [(box.box, box.label, 0) for box in picture.boxes]
        marks += [
            (region.box, label, 1) for region in picture.ignore for label in LABELS if region.label in (None, label)
        ]
        for (x1, y1, x2, y2), label, crowd in marks:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": crowd,
                }
            )
    results = [
        {
            "image_id": number,
            "category_id": ids[found.label],
            "bbox": [found.box[0], found.box[1], found.box[2] - found.box[0], found.box[3] - found.box[1]],
            "score": found.score,
        }
        for number, seen in enumerate(predictions, 1)
        for found in seen
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(
            {
                "images": [{"id": n, "width": SIDE, "height": SIDE} for n in range(1, len(pictures) + 1)],
                "annotations": annotations,
                "categories": [{"id": index, "name": label} for label, index in ids.items()],
            }
        )
        program = COCOeval_faster(truth, truth.loadRes(results), "bbox")
        program.params.maxDets = [1, 2, cap]
        program.evaluate()
        program.accumulate()
    precision = np.asarray(program.eval["precision"])[:, :, :, 0, 2]  # IoU, recall, class
    return {
        label: (float(precision[0, :, index].mean()), float(precision[:, :, index].mean()))
        for index, label in enumerate(LABELS)
        if (precision[:, :, index] > -1).all()
    }


def agree(pictures: list[LabelledPicture], predictions: Predictions, cap: int = 100) -> None:
    expected = coco_figures(pictures, predictions, cap)
    report = evaluate_detections(pictures, predictions, LABELS, max_detections=cap)
    assert list(report.per_class) == list(expected)
    for label, (ap50, ap50_95) in expected.items():
        assert report.per_class[label].coco_ap50 == pytest.approx(ap50, abs=1e-6), label
        assert report.per_class[label].coco_ap50_95 == pytest.approx(ap50_95, abs=1e-6), label
    assert report.coco_map50 == pytest.approx(np.mean([one for one, _ in expected.values()]), abs=1e-6)


def random_data(seed: int) -> tuple[list[LabelledPicture], Predictions]:
    """Whole-number boxes and coarse scores, so that ties of overlap and score are common."""
    rng = np.random.default_rng(seed)
    pictures: list[LabelledPicture] = []
    predictions: Predictions = []
    for number in range(int(rng.integers(4, 12))):
        boxes = [LabelBox(LABELS[rng.integers(4)], random_box(rng)) for _ in range(rng.integers(0, 8))]
        regions = [IgnoreRegion(random_box(rng), [None, *LABELS][rng.integers(5)]) for _ in range(rng.integers(0, 3))]
        seen = []
        for mark in boxes:
            for _ in range(rng.integers(0, 4)):  # duplicates, near misses
                shift = rng.integers(-3, 4, 4)
                x1, y1, x2, y2 = (float(edge + move) for edge, move in zip(mark.box, shift, strict=True))
                label = mark.label if rng.random() < 0.8 else LABELS[rng.integers(4)]
                seen.append(Detection(label, float(rng.integers(0, 9)) / 8, (x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))))
        seen += [
            Detection(LABELS[rng.integers(4)], float(rng.integers(0, 9)) / 8, random_box(rng))
            for _ in range(rng.integers(0, 5))
        ]
        seen = [seen[i] for i in rng.permutation(len(seen))]
        pictures.append(LabelledPicture(Path(f"{number}.jpg"), SIDE, SIDE, tuple(boxes), ignore=tuple(regions)))
        predictions.append(tuple(seen))
    return pictures, predictions


def random_box(rng: np.random.Generator) -> tuple[float, float, float, float]:
    x1, y1 = (float(v) for v in rng.integers(0, 50, 2))
    return (x1, y1, x1 + float(rng.integers(4, 14)), y1 + float(rng.integers(4, 14)))


@pytest.mark.parametrize("seed", range(60))
def test_random_sets_with_ties_duplicates_and_ignore_regions(seed: int) -> None:
    pictures, predictions = random_data(seed)
    agree(pictures, predictions)


def test_of_two_objects_overlapped_alike_the_later_is_taken() -> None:
    left, right, between = (0.0, 0.0, 10.0, 10.0), (4.0, 0.0, 14.0, 10.0), (2.0, 0.0, 12.0, 10.0)
    pictures = [LabelledPicture(Path("0.jpg"), SIDE, SIDE, (LabelBox("person", left), LabelBox("person", right)))]
    predictions: Predictions = [(Detection("person", 0.9, between), Detection("person", 0.8, right))]
    agree(pictures, predictions)
    # the first took the right object; the second overlaps the left one too little
    assert evaluate_detections(pictures, predictions, LABELS).per_class["person"].found == 1


def test_the_cap_on_predictions_keeps_the_best() -> None:
    for seed in range(100, 110):
        pictures, predictions = random_data(seed)
        agree(pictures, predictions, cap=2)


numbers = st.integers(0, 8).map(float)
boxes = st.tuples(numbers, numbers, st.integers(1, 6), st.integers(1, 6)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
labels = st.sampled_from(LABELS[:2])
marks = st.lists(st.builds(LabelBox, labels, boxes), max_size=5)
regions = st.lists(st.builds(IgnoreRegion, boxes, st.none() | labels), max_size=2)
seen = st.lists(st.builds(Detection, labels, st.integers(0, 4).map(lambda n: n / 4), boxes), max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(marks, regions, seen), min_size=1, max_size=4))
def test_tiny_sets_where_everything_touches(data: list[Any]) -> None:
    pictures = [
        LabelledPicture(Path(f"{n}.jpg"), 16, 16, tuple(m), ignore=tuple(r)) for n, (m, r, _) in enumerate(data)
    ]
    predictions = [tuple(s) for _, _, s in data]
    if not any(predictions):  # the other program cannot load an empty list of results
        return
    if not any(picture.boxes for picture in pictures):
        with pytest.raises(NothingToMeasure):
            evaluate_detections(pictures, predictions, LABELS)
        return
    agree(pictures, predictions)


def test_fractional_boxes_and_scores() -> None:
    rng = np.random.default_rng(5)
    pictures: list[LabelledPicture] = []
    predictions: Predictions = []
    for number in range(80):
        truth = rng.uniform(0, 40, (6, 2))
        truth = np.concatenate([truth, truth + rng.uniform(5, 20, (6, 2))], axis=1)
        guess = truth + np.clip(rng.normal(0, 2, truth.shape), -2.4, 2.4)
        names = [LABELS[i] for i in rng.integers(0, 4, 6)]
        objects = tuple(LabelBox(n, tuple(b)) for n, b in zip(names, truth.tolist(), strict=True))
        pictures.append(LabelledPicture(Path(f"{number}.jpg"), SIDE, SIDE, objects))
        predictions.append(
            tuple(
                Detection(n, float(s), tuple(b))
                for n, b, s in zip(names, guess.tolist(), rng.uniform(0, 1, 6), strict=True)
            )
        )
    agree(pictures, predictions)
