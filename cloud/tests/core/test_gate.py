# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.core.gate import Decision, decide
from helmet_cloud.core.trigger import Condition
from helmet_cloud.testing import figures

LABELS = ("person", "helmet", "helmet-on", "helmet-off")
SEEDS = Condition("precision_delta", ">", 0.1)
ALWAYS = Condition("recall", ">=", 0.0)
FOUR = st.lists(st.none() | st.floats(0, 1), min_size=4, max_size=4)


def judged(new: Any, old: Any, condition: Condition = SEEDS, guard: float = 0.05) -> Decision:
    results = [{"format": "tflite", "url": "/m", "metrics": one} for one in (new, old)]
    return decide(condition, results, LABELS, guard)


def test_the_seeds_condition_lets_a_better_model_out_with_its_numbers() -> None:
    found = judged(figures((0.8,) * 4, (0.5,) * 4), figures((0.6,) * 4, (0.5,) * 4))
    assert found.accepted
    assert "precision_delta +0.200 (0.600 -> 0.800), wanted precision_delta > 0.1" in found.reason
    assert found.figures["metric"]["value"] == pytest.approx(0.2)
    assert found.figures["new"]["values"]["precision"] == [0.8] * 4
    assert found.figures["guard"] == {"allowed": 0.05, "falls": dict.fromkeys(LABELS, 0.0)}


def test_just_the_threshold_is_not_beyond_it() -> None:
    assert not judged(figures((0.7,) * 4, (0.5,) * 4), figures((0.6,) * 4, (0.5,) * 4)).accepted


def test_a_refusal_says_what_was_found_and_what_was_wanted() -> None:
    found = judged(figures((0.65,) * 4, (0.5,) * 4), figures((0.6,) * 4, (0.5,) * 4))
    assert not found.accepted
    assert found.reason.startswith("refused: precision_delta +0.050 (0.600 -> 0.650), wanted precision_delta > 0.1")


def test_the_guard_refuses_a_model_that_forgot_one_class() -> None:
    new = figures((0.9,) * 4, (0.9,) * 4, regression={"recall": [0.5, 0.5, 0.44, 0.5]})
    old = figures((0.5,) * 4, (0.5,) * 4, regression={"recall": [0.5] * 4})
    found = judged(new, old)
    assert not found.accepted
    assert "recall falls on the regression set: helmet-on by 0.060 (at most 0.05)" in found.reason
    assert found.figures["guard"]["falls"]["helmet-on"] == 0.06
    assert judged(new, old, guard=0.06).accepted


def test_a_class_that_lost_its_recall_altogether_fell_by_all_of_it() -> None:
    new = figures((0.9,) * 4, (0.9,) * 4, regression={"recall": [0.5, 0.5, 0.5, None]})
    old = figures((0.5,) * 4, (0.5,) * 4, regression={"recall": [0.5] * 4})
    assert "helmet-off by 0.500" in judged(new, old).reason


@pytest.mark.parametrize("regression", [None, {}, {"recall": []}, {"recall": [None] * 4}, "fine"])
def test_without_figures_of_the_regression_set_nothing_guards_and_nothing_passes(regression: Any) -> None:
    new = figures((0.9,) * 4, (0.9,) * 4, regression=regression)
    old = figures((0.5,) * 4, (0.5,) * 4, regression=regression)
    assert "nothing guards" in judged(new, old).reason
    assert not judged(new, old).accepted


def test_a_guard_that_allows_everything_needs_no_figures() -> None:
    new, old = figures((0.9,) * 4, (0.9,) * 4, regression=None), figures((0.5,) * 4, (0.5,) * 4)
    assert judged(new, old, guard=1.0).accepted


@pytest.mark.parametrize("predictions", [[0, 0, 0, 0], None])
def test_a_model_that_detects_nothing_never_passes_though_its_precision_is_called_perfect(predictions: Any) -> None:
    # Sedna scores it 1.0 in every class.
    new = figures((1.0,) * 4, (0.0,) * 4, predictions=predictions, regression={"recall": [0.0] * 4})
    old = figures((0.5,) * 4, (0.5,) * 4, regression={"recall": [0.0] * 4})
    for condition in (SEEDS, ALWAYS, Condition("precision", ">", 0.9)):
        found = judged(new, old, condition, guard=1.0)
        assert not found.accepted
        assert "detects nothing" in found.reason


def test_a_report_that_does_not_say_whether_anything_was_seen_is_refused() -> None:
    new = {"precision": [0.9] * 4, "regression": {"recall": [0.5] * 4}}
    assert "it may see nothing" in judged(new, figures((0.5,) * 4, (0.5,) * 4)).reason


def test_classes_that_were_left_out_are_named() -> None:
    new, old = (
        figures((0.9, None, 0.9, 0.9), (0.9, None, 0.9, 0.9)),
        figures((0.5, None, 0.5, 0.5), (0.9, None, 0.9, 0.9)),
    )
    found = judged(new, old)
    assert found.accepted
    assert "[left out for want of objects: helmet]" in found.reason
    assert found.figures["metric"]["left_out"] == ["helmet"]


def test_no_class_left_is_a_refusal_with_its_reason() -> None:
    nothing = figures((None,) * 4, (None,) * 4, predictions=[1, 1, 1, 1], regression={"recall": [0.5] * 4})
    found = judged(nothing, nothing)
    assert not found.accepted
    assert "no class has objects in the evaluation set" in found.reason


@pytest.mark.parametrize(
    "results",
    [
        [],
        [{}],
        [{"metrics": None}],
        [{"metrics": "good"}],
        [{"metrics": {}}, {"metrics": {}}],
        [{"metrics": {"precision": "x"}}],
    ],
)
def test_garbage_is_refused_with_a_reason(results: list[dict[str, Any]]) -> None:
    found = decide(SEEDS, results, LABELS, 0.05)
    assert not found.accepted
    assert found.reason.startswith("refused: ")


def test_a_metric_that_nobody_reports_is_a_refusal() -> None:
    good = figures((0.9,) * 4, (0.9,) * 4)
    assert "no metric 'accuracy'" in judged(good, good, Condition("accuracy_delta", ">", 0.1)).reason


@given(FOUR, FOUR, FOUR, FOUR, st.floats(0.0, 0.99))
def test_what_passes_forgot_nothing_and_sees_something(
    precision: list[float | None],
    recall: list[float | None],
    regression: list[float | None],
    before: list[float | None],
    guard: float,
) -> None:
    new = figures(precision, recall, regression={"recall": regression})
    old = figures((0.0,) * 4, (0.0,) * 4, regression={"recall": before})
    found = judged(new, old, Condition("recall_delta", ">=", 0.0), guard)
    if found.accepted:
        assert sum(new["predictions"]) > 0
        pairs = zip(before, regression, strict=True)
        assert all(was - (now or 0.0) <= guard + 2e-6 for was, now in pairs if was is not None)
        assert any(was is not None for was in before)
    assert found.reason.startswith("accepted: " if found.accepted else "refused: ")
