# SPDX-License-Identifier: Apache-2.0
"""May a trained model go out? The job's condition, a guard over old knowledge, and common sense, all three.

The guard stands on the regression set, which no round trains on: no class's recall may fall there by more than a set
amount. A model that detects nothing never passes, whatever its precision is called.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from helmet_cloud.core.metrics import Figures, Measured, Metric, Unmeasured, figures_of, measure, per_class
from helmet_cloud.core.operators import EPSILON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helmet_cloud.core.trigger import Condition

NO_GUARD = 1.0
"""A permitted fall of so much permits anything: such a job needs no regression figures."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided, and on which figures.

    Attributes:
        accepted: whether the model may go out.
        reason: one line for people, with the numbers.
        figures: everything that was looked at, for the record; JSON values only.
    """

    accepted: bool
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)


def decide(
    condition: Condition,
    results: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    guard_recall_drop: float,
) -> Decision:
    """The gate.

    Args:
        condition: of the deploy trigger.
        results: of the eval worker: the new model's first, then that of the model in service.
        labels: the job's class names, where a result names none.
        guard_recall_drop: by how much a class's recall may fall on the regression set, in [0, 1].
    """
    metrics = [one.get("metrics") for one in results[:2]]
    reports = [one if isinstance(one, dict) else {} for one in metrics]
    if not reports or not reports[0]:
        return Decision(accepted=False, reason="refused: the evaluation reported no figures")
    new = figures_of(reports[0], labels)
    old = figures_of(reports[1], labels) if len(reports) > 1 and reports[1] else None
    figures: dict[str, Any] = {
        "condition": str(condition),
        "new": _told(new),
        "old": None if old is None else _told(old),
    }
    refusals: list[str] = []
    told: list[str] = []
    for found in (_sees_something(new), _condition(condition, new, old, figures)):
        (told if found.accepted else refusals).append(found.reason)
    guard = _guard(reports, labels, guard_recall_drop, figures)
    (told if guard.accepted else refusals).append(guard.reason)
    accepted = not refusals
    lines = [line for line in (told if accepted else refusals + told) if line]
    return Decision(accepted, f"{'accepted' if accepted else 'refused'}: {'; '.join(lines)}", figures)


def _sees_something(new: Figures) -> Decision:
    if new.predictions is not None:
        seen: float = sum(new.predictions)
    else:
        try:
            seen = sum(value or 0.0 for value in per_class(new, "recall"))
        except Unmeasured:
            return Decision(accepted=False, reason="the report has neither predictions nor recall: it may see nothing")
    if seen > 0.0:
        return Decision(accepted=True, reason="")
    return Decision(accepted=False, reason="the model detects nothing")


def _condition(condition: Condition, new: Figures, old: Figures | None, figures: dict[str, Any]) -> Decision:
    try:
        metric = Metric.parse(condition.metric)
        found = measure(metric, new, old)
        holds = condition.holds(found.value)
    except ValueError as error:  # Unmeasured among them
        figures["metric"] = {"name": condition.metric, "value": None, "reason": str(error)}
        return Decision(accepted=False, reason=str(error))
    figures["metric"] = {
        "name": str(metric),
        "value": round(found.value, 6),
        "left_out": list(found.left_out),
        "notes": list(found.notes),
    }
    sides = _sides(metric, new, old)
    line = f"{metric} {_signed(found.value, signed=metric.delta)}{sides}, wanted {condition}{_remarks(found)}"
    return Decision(holds, line)


def _sides(metric: Metric, new: Figures, old: Figures | None) -> str:
    if not metric.delta or old is None:
        return ""
    plain = Metric(metric.name, which=metric.which)
    return f" ({measure(plain, old, None).value:.3f} -> {measure(plain, new, None).value:.3f})"


def _remarks(found: Measured) -> str:
    left_out = (f"left out for want of objects: {', '.join(found.left_out)}",) if found.left_out else ()
    remarks = (*left_out, *found.notes)
    return f" [{'; '.join(remarks)}]" if remarks else ""


def _guard(
    reports: Sequence[Mapping[str, Any]], labels: Sequence[str], allowed: float, figures: dict[str, Any]
) -> Decision:
    if allowed >= NO_GUARD:
        figures["guard"] = {"allowed": allowed, "falls": {}}
        return Decision(accepted=True, reason="no guard on the regression set")
    new, old = (_regression(reports, index, labels) for index in (0, 1))
    if new is None or old is None:
        whose = "new" if new is None else "old"
        figures["guard"] = {"allowed": allowed, "falls": None}
        return Decision(accepted=False, reason=f"no recall of the {whose} model on the regression set: nothing guards")
    try:
        before, after = per_class(old, "recall"), per_class(new, "recall")
    except Unmeasured as error:
        return Decision(accepted=False, reason=f"regression set: {error}")
    falls: dict[str, float] = {}
    for index, was in enumerate(before):
        label = new.labels[index] if index < len(new.labels) else f"class {index}"
        now = after[index] if index < len(after) else None
        if was is not None:
            # A class whose recall became undefined was lost altogether.
            falls[label] = round(was - (0.0 if now is None else now), 6)
    figures["guard"] = {"allowed": allowed, "falls": falls}
    if not falls:
        return Decision(accepted=False, reason="regression set: no class has objects there: nothing guards")
    label, worst = max(falls.items(), key=lambda one: one[1])
    bad = [f"{name} by {fall:.3f}" for name, fall in falls.items() if fall > allowed + EPSILON]
    if bad:
        return Decision(
            accepted=False, reason=f"recall falls on the regression set: {', '.join(bad)} (at most {allowed:g})"
        )
    return Decision(accepted=True, reason=f"regression recall: worst {label} {_signed(-worst, signed=True)}")


def _regression(reports: Sequence[Mapping[str, Any]], index: int, labels: Sequence[str]) -> Figures | None:
    report = reports[index] if index < len(reports) else {}
    found = report.get("regression")
    if not isinstance(found, dict) or not isinstance(found.get("recall"), list) or not found["recall"]:
        return None
    own = report.get("labels")
    return figures_of({"labels": own, **found}, labels)


def _signed(value: float, *, signed: bool) -> str:
    return f"{value + 0.0:+.3f}" if signed else f"{value:.3f}"


def _told(figures: Figures) -> dict[str, Any]:
    return {
        "labels": list(figures.labels),
        "objects": None if figures.objects is None else list(figures.objects),
        "predictions": None if figures.predictions is None else list(figures.predictions),
        "values": {
            name: value if isinstance(value, float) else [None if one is None else round(one, 6) for one in value]
            for name, value in figures.values.items()
            if name not in {"objects", "predictions"} and not (isinstance(value, float) and math.isnan(value))
        },
    }
