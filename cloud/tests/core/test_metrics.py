# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.core.metrics import Figures, Metric, Unmeasured, figures_of, measure

LABELS = ("person", "helmet", "helmet-on", "helmet-off")


def model(**metrics: Any) -> Figures:
    return figures_of({"objects": [10, 0, 10, 10], "predictions": [9, 0, 9, 9]} | metrics, LABELS)


def value(text: str, new: Figures, old: Figures | None = None) -> float:
    return measure(Metric.parse(text), new, old).value


NEW = model(precision=[0.9, None, 0.8, 0.7], recall=[0.5, None, 0.6, 0.9])
OLD = model(precision=[0.6, None, 0.7, 0.8], recall=[0.5, None, 0.5, 0.1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("precision", 0.8),
        ("precision_delta", 0.1),
        ("precision_delta[3]", -0.1),
        ("precision_delta[helmet-off]", -0.1),
        ("precision[person]", 0.9),
        ("recall_delta[helmet-off]", 0.8),
        ("recall[2]", 0.6),
        (" recall_delta [ 0 ] ", 0.0),
    ],
)
def test_expressions(text: str, expected: float) -> None:
    assert value(text, NEW, OLD) == pytest.approx(expected)


def test_the_seeds_own_metric_is_a_number_though_the_report_is_a_list() -> None:
    # In Sedna the list reads as 0, and precision_delta > 0.1 never fires.
    assert (
        value("precision_delta", model(precision=[0.9, None, 0.9, 0.9]), model(precision=[0.7, None, 0.7, 0.7])) > 0.1
    )


def test_a_class_without_objects_is_left_out_and_named_whatever_the_worker_says() -> None:
    found = measure(Metric("precision"), model(precision=[0.9, 1.0, 0.8, 0.7]), None)
    assert found.value == pytest.approx(0.8)
    assert found.left_out == ("helmet",)


def test_objects_but_no_prediction_is_precision_nought_and_noted() -> None:
    silent = model(precision=[0.9, None, 1.0, None], predictions=[9, 0, 0, 0])
    found = measure(Metric("precision"), silent, None)
    assert found.value == pytest.approx(0.3)
    assert found.notes == ("precision of helmet-on, helmet-off is 0: the new model never claims to see it",)


def test_no_class_left_is_a_refusal_with_its_reason() -> None:
    nothing = model(precision=[None] * 4, objects=[0, 0, 0, 0])
    with pytest.raises(Unmeasured, match="no class has objects in the evaluation set"):
        measure(Metric("precision_delta".removesuffix("_delta"), delta=True), nothing, nothing)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f1", "no metric 'f1'; it has precision, recall"),
        ("precision[4]", "no class 4"),
        ("precision[hat]", "known are person, helmet"),
        ("precision[helmet]", "the evaluation set has no helmet"),
        ("recall_delta[-1]", "no such class"),
    ],
)
def test_what_was_not_measured_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(Unmeasured, match=reason):
        value(text, NEW, OLD)


def test_a_delta_needs_both_models() -> None:
    with pytest.raises(Unmeasured, match="no figures of the model in service"):
        value("precision_delta", NEW)


@pytest.mark.parametrize("text", ["", "precision[", "precision[]", "_delta", "a b", "precision_delta[1][2]", "1st"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a metric such as"):
        Metric.parse(text)


@given(st.from_regex(r"[a-z][a-z0-9]{0,8}(_delta)?(\[[a-z0-9-]{1,8}\])?", fullmatch=True))
def test_an_expression_reads_back_as_it_was_written(text: str) -> None:
    assert str(Metric.parse(text)) == text


def test_a_number_a_model_is_compared_as_it_is_and_has_no_classes() -> None:
    new, old = figures_of({"loss": 1.0}, ()), figures_of({"loss": 1.5}, ())
    assert value("loss_delta", new, old) == -0.5
    with pytest.raises(Unmeasured, match="one number"):
        value("loss[0]", new, old)


def test_garbage_in_a_report_is_not_taken_for_figures() -> None:
    found = figures_of(
        {"precision": ["good"], "recall": [math.nan, 1], "f1": True, "map50": {"a": 1}, "loss": math.inf}, ()
    )
    assert dict(found.values) == {"recall": (None, 1.0)}


def test_a_report_of_fewer_classes_on_one_side_is_refused() -> None:
    with pytest.raises(Unmeasured, match="4 figures of the new model, 2 of the old"):
        value("precision_delta", NEW, model(precision=[0.5, 0.5]))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=6))
def test_a_delta_of_means_is_the_mean_of_deltas_over_the_same_classes(rows: list[tuple[float, float, bool]]) -> None:
    objects = [int(has) for *_, has in rows]
    names = [f"c{index}" for index in range(len(rows))]
    new = figures_of({"recall": [row[0] for row in rows], "objects": objects}, names)
    old = figures_of({"recall": [row[1] for row in rows], "objects": objects}, names)
    if not any(objects):
        with pytest.raises(Unmeasured):
            value("recall_delta", new, old)
    else:
        assert value("recall_delta", new, old) == pytest.approx(value("recall", new) - value("recall", old))
        assert value("recall_delta", new, new) == 0.0
