# SPDX-License-Identifier: Apache-2.0
"""What a condition's ``metric`` means for two evaluated models.

``<metric>`` and ``<metric>_delta`` (new minus old), each with an optional ``[class index]`` or ``[class name]``. A
list holds one figure a class and stands for its mean. No figure is ever made up: a class without objects in the
evaluation set is left out and named; a class with objects that the model never claims to see has precision 0; where no
class is left there is no value but a reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DELTA = "_delta"

_EXPRESSION = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*(?:\[\s*([^\[\]\s]+)\s*\])?\s*", re.ASCII)


class Unmeasured(ValueError):  # noqa: N818 - says what the metric is
    """The metric has no value; the message is the reason for people."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A parsed expression.

    Attributes:
        name: as in a worker's report, such as ``precision``.
        delta: new minus old.
        which: class index or class name as written; None: the mean.
    """

    name: str
    delta: bool = False
    which: str | None = None

    @classmethod
    def parse(cls, text: str) -> Metric:
        """Reads ``precision_delta[helmet-off]`` and the like.

        Raises:
            ValueError: it is no such expression.
        """
        found = _EXPRESSION.fullmatch(text)
        if found is None:
            raise ValueError(f"expected a metric such as precision_delta or recall[helmet-off], found {text!r}")
        name, which = found.group(1, 2)
        delta = name.endswith(DELTA) and name != DELTA
        return cls(name.removesuffix(DELTA) if delta else name, delta, which)

    def __str__(self) -> str:
        return f"{self.name}{DELTA if self.delta else ''}{f'[{self.which}]' if self.which is not None else ''}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one evaluated model was measured at; see ``figures_of``.

    Attributes:
        labels: class names by index.
        values: by metric, one number a class, None where it is undefined, or a single number.
        objects: objects of each class in the evaluation set; None: the worker did not say.
        predictions: how many of each class the model claims to see; None: the worker did not say.
    """

    labels: tuple[str, ...]
    values: Mapping[str, tuple[float | None, ...] | float]
    objects: tuple[int, ...] | None = None
    predictions: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """The value of a metric.

    Attributes:
        value: the figure.
        left_out: classes that are not in the mean, for lack of objects.
        notes: what else a reader of the figure has to know, such as precisions that were set to 0.
    """

    value: float
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def figures_of(metrics: Mapping[str, Any], labels: Sequence[str]) -> Figures:
    """The figures of one result of an eval worker; what is neither a number nor a list of numbers is not taken.

    Args:
        metrics: as reported; its own ``labels`` win over the job's.
        labels: of the job, by class id.
    """
    own = metrics.get("labels")
    if isinstance(own, list | tuple) and own and all(isinstance(one, str) for one in own):
        labels = own
    values: dict[str, tuple[float | None, ...] | float] = {}
    for name, value in metrics.items():
        if isinstance(value, list | tuple) and value and all(one is None or _is_number(one) for one in value):
            values[name] = tuple(None if one is None or not math.isfinite(one) else float(one) for one in value)
        elif _is_number(value) and math.isfinite(value):
            values[name] = float(value)
    return Figures(tuple(labels), values, _counts(metrics.get("objects")), _counts(metrics.get("predictions")))


def measure(metric: Metric, new: Figures, old: Figures | None) -> Measured:
    """The metric's value.

    Args:
        metric: which one.
        new: figures of the model in question.
        old: those of the model in service, on the same pictures; only a delta needs them.

    Raises:
        Unmeasured: there is no such figure, or none of its classes is defined.
    """
    if not metric.delta:
        return _summary(metric, new, per_class(new, metric.name), _notes(new, metric.name, "new"))
    if old is None:
        raise Unmeasured(f"{metric}: there are no figures of the model in service to compare with")
    if old.labels != new.labels:
        raise Unmeasured(f"{metric}: the two models know different classes")
    ours, theirs = per_class(new, metric.name), per_class(old, metric.name)
    if len(ours) != len(theirs):
        raise Unmeasured(f"{metric}: {len(ours)} figures of the new model, {len(theirs)} of the old one")
    pairs = zip(ours, theirs, strict=True)
    deltas = tuple(None if a is None or b is None else a - b for a, b in pairs)
    return _summary(metric, new, deltas, _notes(new, metric.name, "new") + _notes(old, metric.name, "old"))


def per_class(figures: Figures, name: str) -> tuple[float | None, ...]:
    """One value a class under the rules of this module; a single number comes as one value.

    Raises:
        Unmeasured: the worker reported no such metric.
    """
    value = figures.values.get(name)
    if value is None:
        known = ", ".join(sorted(set(figures.values) - {"objects", "predictions", "samples"})) or "none at all"
        raise Unmeasured(f"the report has no metric {name!r}; it has {known}")
    if isinstance(value, float):
        return (value,)
    return tuple(_defined(figures, name, index, one) for index, one in enumerate(value))


def _defined(figures: Figures, name: str, index: int, value: float | None) -> float | None:
    if figures.objects is None or index >= len(figures.objects):
        return value
    if figures.objects[index] == 0:
        return None  # whatever the worker says: there was nothing to find
    return 0.0 if name == "precision" and _silent(figures, index) else value


def _silent(figures: Figures, index: int) -> bool:
    return figures.predictions is not None and index < len(figures.predictions) and figures.predictions[index] == 0


def _notes(figures: Figures, name: str, which: str) -> tuple[str, ...]:
    if name != "precision" or figures.objects is None:
        return ()
    silent = [
        label
        for index, label in enumerate(figures.labels[: len(figures.objects)])
        if figures.objects[index] > 0 and _silent(figures, index)
    ]
    return (f"precision of {', '.join(silent)} is 0: the {which} model never claims to see it",) if silent else ()


def _summary(metric: Metric, new: Figures, values: tuple[float | None, ...], notes: tuple[str, ...]) -> Measured:
    single = isinstance(new.values.get(metric.name), float)
    if metric.which is not None:
        if single:
            raise Unmeasured(f"{metric}: {metric.name} is one number, not one a class")
        index = _index(metric, new, len(values))
        value = values[index]
        if value is None:
            raise Unmeasured(f"{metric}: the evaluation set has no {_name(new, index)}")
        return Measured(value, (), notes)
    left_out = tuple(_name(new, index) for index, value in enumerate(values) if value is None)
    defined = [value for value in values if value is not None]
    if not defined:
        raise Unmeasured(f"{metric}: no class has objects in the evaluation set ({', '.join(left_out)} left out)")
    return Measured(math.fsum(defined) / len(defined), left_out, notes)


def _index(metric: Metric, figures: Figures, count: int) -> int:
    which = metric.which or ""
    # A name wins: a class may be called "2".
    if which in figures.labels:
        index = figures.labels.index(which)
    elif which.isascii() and which.isdigit():
        index = int(which[:9])
    else:
        raise Unmeasured(f"{metric}: no such class; known are {', '.join(figures.labels) or 'none'}")
    if index >= count:
        raise Unmeasured(f"{metric}: there is no class {which}: {metric.name} has {count} figures")
    return index


def _name(figures: Figures, index: int) -> str:
    return figures.labels[index] if index < len(figures.labels) else f"class {index}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _counts(value: object) -> tuple[int, ...] | None:
    if isinstance(value, Sequence) and value and all(isinstance(one, int) and one >= 0 for one in value):
        return tuple(value)
    return None
