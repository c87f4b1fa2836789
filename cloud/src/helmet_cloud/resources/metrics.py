# SPDX-License-Identifier: Apache-2.0
"""Names of the metrics that triggers compare, ``num_of_samples`` and ``precision_delta[helmet-off]`` among them."""

from __future__ import annotations

import re
from dataclasses import dataclass

OPERATORS = {
    "gt": "gt",
    ">": "gt",
    "ge": "ge",
    ">=": "ge",
    "eq": "eq",
    "=": "eq",
    "==": "eq",
    "ne": "ne",
    "!=": "ne",
    "le": "le",
    "<=": "le",
    "lt": "lt",
    "<": "lt",
}
"""Every way Sedna writes an operator, and its one short name."""

TRAIN_METRICS = ("num_of_samples",)
DEPLOY_METRICS = ("precision", "recall", "f1", "map50")
DELTA = "_delta"

_METRIC = re.compile(r"([a-z0-9_]+)(?:\[([^\[\]]{1,63})\])?\Z")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a trigger, read.

    Attributes:
        name: ``precision``, ``recall``, ``f1``, ``map50`` or ``num_of_samples``.
        delta: whether the new model is compared with the old one.
        of: class by position (from 0) or by name; None means all of them.
    """

    name: str
    delta: bool = False
    of: int | str | None = None

    def __str__(self) -> str:
        return f"{self.name}{DELTA if self.delta else ''}{'' if self.of is None else f'[{self.of}]'}"


def read_metric(text: str) -> Metric:
    """Reads a metric's name; which names make sense where is the caller's business.

    Raises:
        ValueError: it is no name with perhaps a class in brackets.
    """
    match = _METRIC.match(text)
    if match is None:
        raise ValueError(f"expected a name such as precision_delta or precision_delta[helmet-off], found {text[:80]!r}")
    name, of = match[1], match[2]
    delta = name.endswith(DELTA)
    # str.isdigit is true for digits that int refuses, hence ASCII only.
    position = int(of) if of is not None and of.isascii() and of.isdigit() else of
    return Metric(name.removesuffix(DELTA), delta, position)
