# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import ContractError, Detection
from helmet_cloud.evaluation import EvaluationReport, NothingToMeasure, evaluate_detections
from helmet_cloud.labels import LABELS, IgnoreRegion, LabelBox, LabelledPicture

A = (10.0, 10.0, 30.0, 30.0)
B = (50.0, 50.0, 70.0, 70.0)
FAR = (80.0, 0.0, 99.0, 9.0)


def picture(
    *boxes: LabelBox, complete: frozenset[str] = frozenset(LABELS), ignore: tuple[IgnoreRegion, ...] = ()
) -> LabelledPicture:
    return LabelledPicture(Path("p.jpg"), 100, 100, boxes, complete, ignore)


def see(label: str, score: float, box: tuple[float, float, float, float]) -> Detection:
    return Detection(label, score, box)


PERSON_A, PERSON_B = LabelBox("person", A), LabelBox("person", B)


def test_a_perfect_model_scores_one() -> None:
    report = evaluate_detections(
        [picture(PERSON_A, PERSON_B)], [[see("person", 0.9, A), see("person", 0.3, B)]], LABELS
    )
    assert (report.map50, report.map50_95, report.coco_map50, report.coco_map50_95) == (1.0, 1.0, 1.0, 1.0)
    figures = report.per_class["person"]
    assert (figures.precision, figures.recall, figures.f1, figures.found, figures.predictions) == (1.0, 1.0, 1.0, 2, 2)


def test_two_predictions_on_one_object_are_one_right_and_one_false() -> None:
    figures = evaluate_detections(
        [picture(PERSON_A)], [[see("person", 0.9, A), see("person", 0.8, A)]], LABELS
    ).per_class["person"]
    assert (figures.found, figures.predictions, figures.precision, figures.recall) == (1, 2, 0.5, 1.0)


def test_the_better_score_takes_the_object_whatever_the_order_given() -> None:
    truth = [picture(PERSON_A)]
    near = (10.0, 10.0, 30.0, 28.0)
    one = evaluate_detections(truth, [[see("person", 0.5, A), see("person", 0.9, near)]], LABELS)
    other = evaluate_detections(truth, [[see("person", 0.9, near), see("person", 0.5, A)]], LABELS)
    assert one == other
    assert one.per_class["person"].ap50 == 1.0
    assert one.per_class["person"].ap50_95 < 1.0  # at 0.95 the better score misses


def test_a_prediction_takes_the_object_it_overlaps_most() -> None:
    left, right = (0.0, 0.0, 20.0, 20.0), (4.0, 0.0, 24.0, 20.0)
    truth = [picture(LabelBox("person", left), LabelBox("person", right))]
    # the first lies on the right object; the second then still has the left one
    figures = evaluate_detections(truth, [[see("person", 0.9, right), see("person", 0.8, left)]], LABELS)
    assert figures.per_class["person"].ap50_95 == pytest.approx(1.0)


def test_all_point_average_precision_by_hand() -> None:
    # right, false, right of 2 objects: precision 1 up to recall 1/2, then 2/3 up to recall 1
    seen = [see("person", 0.9, A), see("person", 0.8, FAR), see("person", 0.7, B)]
    figures = evaluate_detections([picture(PERSON_A, PERSON_B)], [seen], LABELS).per_class["person"]
    assert figures.ap50 == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert figures.coco_ap50 == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_figures_at_the_threshold_count_scores_from_it_up() -> None:
    seen = [see("person", 0.5, A), see("person", 0.499, FAR)]
    figures = evaluate_detections([picture(PERSON_A)], [seen], LABELS, dict.fromkeys(LABELS, 0.5))
    assert figures.per_class["person"].precision == 1.0
    assert figures.per_class["person"].threshold == 0.5


def test_a_label_without_objects_is_left_out_and_named() -> None:
    report = evaluate_detections([picture(PERSON_A)], [[see("person", 0.9, A), see("helmet-on", 0.9, B)]], LABELS)
    assert list(report.per_class) == ["person"]
    assert report.map50 == 1.0
    assert report.left_out["helmet"] == "no object in 1 pictures"
    assert report.left_out["helmet-on"] == "no object in 1 pictures; the model claims 1 at score 0.25"
    assert set(report.curves) == {"person"}


@pytest.mark.parametrize("seen", [[], [see("helmet-on", 0.9, A)], [see("person", 0.1, FAR)]])
def test_a_model_that_finds_nothing_has_precision_zero_on_record(seen: list[Detection]) -> None:
    figures = evaluate_detections([picture(PERSON_A)], [seen], LABELS).per_class["person"]
    assert (figures.precision, figures.recall, figures.f1, figures.ap50, figures.ap50_95) == (0.0, 0.0, 0.0, 0.0, 0.0)
    assert figures.objects == 1


@pytest.mark.parametrize(
    ("pictures", "reason"),
    [
        ([picture()], "no object in 1 pictures"),
        ([picture(PERSON_A, complete=frozenset())], "no picture is completely labelled"),
        ([], "no picture is completely labelled"),
    ],
)
def test_nothing_left_to_measure_is_a_refusal_with_its_reason(pictures: list[LabelledPicture], reason: str) -> None:
    with pytest.raises(NothingToMeasure, match=reason):
        evaluate_detections(pictures, [[] for _ in pictures], LABELS)


def test_pictures_incomplete_for_a_label_say_nothing_about_it() -> None:
    heads_only = picture(LabelBox("helmet-on", B), PERSON_A, complete=frozenset({"helmet", "helmet-on", "helmet-off"}))
    seen = [see("person", 0.9, FAR), see("helmet-on", 0.9, B)]
    report = evaluate_detections([picture(PERSON_A), heads_only], [[see("person", 0.9, A)], seen], LABELS)
    assert report.per_class["person"].precision == 1.0
    assert (report.per_class["person"].pictures, report.per_class["person"].objects) == (1, 1)
    assert report.per_class["helmet-on"].pictures == 2
    assert report.pictures == 2


def test_a_prediction_in_an_ignore_region_is_not_counted() -> None:
    region = IgnoreRegion((40.0, 40.0, 90.0, 90.0))
    seen = [see("person", 0.9, B), see("person", 0.8, A)]
    figures = evaluate_detections([picture(PERSON_A, ignore=(region,))], [seen], LABELS).per_class["person"]
    assert (figures.predictions, figures.precision, figures.ap50) == (1, 1.0, 1.0)


def test_an_object_inside_an_ignore_region_is_still_found() -> None:
    region = IgnoreRegion((0.0, 0.0, 100.0, 100.0), "person")
    figures = evaluate_detections(
        [picture(PERSON_A, ignore=(region,))], [[see("person", 0.9, A), see("person", 0.8, A)]], LABELS
    ).per_class["person"]
    assert (figures.found, figures.predictions) == (1, 1)


def test_an_ignore_region_of_one_label_does_not_cover_another() -> None:
    truth = [picture(PERSON_A, ignore=(IgnoreRegion(B, "helmet-on"),))]
    figures = evaluate_detections(truth, [[see("person", 0.9, B)]], LABELS).per_class["person"]
    assert (figures.predictions, figures.precision) == (1, 0.0)


def test_only_the_labels_asked_for_are_measured() -> None:
    truth = [picture(PERSON_A, LabelBox("helmet-on", B))]
    report = evaluate_detections(truth, [[see("person", 0.9, A)]], ["helmet-on"])
    assert list(report.per_class) == ["helmet-on"]
    assert list(report.left_out) == []


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="1 pictures but predictions for 2"):
        evaluate_detections([picture(PERSON_A)], [[], []], LABELS)
    with pytest.raises(ValueError, match="no score threshold for helmet-off"):
        evaluate_detections([picture(PERSON_A)], [[]], LABELS, dict.fromkeys(LABELS[:3], 0.2))
    for bad in (see("person", math.nan, A), see("person", 0.5, (0.0, 0.0, math.inf, 1.0))):
        with pytest.raises(ValueError, match="not finite"):
            evaluate_detections([picture(PERSON_A)], [[bad]], LABELS)


edge = st.floats(0, 90)
boxes = st.tuples(edge, edge, st.floats(1, 10), st.floats(1, 10)).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
labels = st.sampled_from(LABELS)
scenes = st.lists(
    st.tuples(
        st.lists(st.builds(LabelBox, labels, boxes), min_size=1, max_size=5),
        st.lists(st.builds(Detection, labels, st.floats(0, 1), boxes), max_size=6),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=80, deadline=None)
@given(scenes)
def test_a_report_survives_its_file_and_its_figures_keep_their_bounds(
    scene: list[tuple[list[LabelBox], list[Detection]]],
) -> None:
    report = evaluate_detections(
        [picture(*marks) for marks, _ in scene], [seen for _, seen in scene], LABELS, model="a" * 64
    )
    assert EvaluationReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    for figures in report.per_class.values():
        assert 0 <= figures.ap50_95 <= figures.ap50 + 1e-12 <= 1 + 1e-12
        assert figures.found <= min(figures.objects, figures.predictions)
    assert report.map50 == pytest.approx(sum(f.ap50 for f in report.per_class.values()) / len(report.per_class))


@settings(max_examples=60, deadline=None)
@given(scenes)
def test_the_truth_as_prediction_is_perfect(scene: list[tuple[list[LabelBox], list[Detection]]]) -> None:
    truth = [picture(*marks) for marks, _ in scene]
    seen = [[Detection(mark.label, 0.9, mark.box) for mark in marks] for marks, _ in scene]
    report = evaluate_detections(truth, seen, LABELS)
    assert report.map50_95 == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(scenes)
def test_a_false_prediction_below_all_others_changes_no_average_precision(
    scene: list[tuple[list[LabelBox], list[Detection]]],
) -> None:
    truth = [picture(*marks) for marks, _ in scene]
    seen = [[Detection(d.label, 0.5 + d.score / 2, d.box) for d in found] for _, found in scene]
    before = evaluate_detections(truth, seen, LABELS)
    nowhere = (99.0, 99.0, 100.0, 100.0) if all(mark.box[2] < 99 for marks, _ in scene for mark in marks) else None
    if nowhere is None:
        return
    after = evaluate_detections(truth, [[*found, Detection("person", 0.01, nowhere)] for found in seen], LABELS)
    assert after.map50 == pytest.approx(before.map50)


def test_without_curves_the_report_still_reads() -> None:
    report = evaluate_detections([picture(PERSON_A)], [[see("person", 0.9, A)]], LABELS)
    short = report.to_json(curves=False)
    assert "curves" not in short
    assert EvaluationReport.from_json(short).per_class == report.per_class


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"map50": 1.5}, "map50: expected a number"),
        ({"extra": 1}, "extra: unknown field"),
        ({"per_class": {"person": {"objects": 1}}}, r"per_class\.person\.pictures: missing"),
        ({"curves": {"person": [[0.1, 0.2]]}}, r"curves\.person\[0\]"),
        ({"curves": {"person": 3}}, r"curves\.person: expected a list"),
        ({"curves": {"person": [{}]}}, r"curves\.person\[0\]"),
    ],
)
def test_a_report_that_cannot_be_right_is_refused(change: dict[str, object], message: str) -> None:
    document = evaluate_detections([picture(PERSON_A)], [[see("person", 0.9, A)]], LABELS).to_json()
    with pytest.raises(ContractError, match=message):
        EvaluationReport.from_json({**document, **change})


def test_curves_are_thinned_to_about_a_hundred_points() -> None:
    truth = [picture(PERSON_A) for _ in range(400)]
    seen = [[see("person", 1 - n / 1000, A if n % 3 else FAR)] for n in range(400)]
    points = evaluate_detections(truth, seen, LABELS).curves["person"]
    assert 60 <= len(points) <= 102
    assert [p.score for p in points] == sorted((p.score for p in points), reverse=True)
    assert points[-1].recall == pytest.approx(266 / 400, abs=1e-3)
