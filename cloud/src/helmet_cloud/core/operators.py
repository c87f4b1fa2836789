# SPDX-License-Identifier: Apache-2.0
"""The comparisons that a trigger's condition may ask for, under all the names that Sedna knows."""

from __future__ import annotations

import math

EPSILON = 1e-6
"""Two figures that differ by less are equal, as in Sedna."""

ALIASES = {
    "gt": ">",
    ">": ">",
    "ge": ">=",
    ">=": ">=",
    "eq": "==",
    "=": "==",
    "==": "==",
    "ne": "!=",
    "!=": "!=",
    "le": "<=",
    "<=": "<=",
    "lt": "<",
    "<": "<",
}
"""Every accepted name of an operator, and its usual sign."""


def compare(operator: str, value: float, threshold: float) -> bool:
    """Whether ``value operator threshold`` holds, figures closer than EPSILON being equal.

    Exactly one of ``<``, ``==`` and ``>`` holds for any two figures; with a NaN nothing holds, ``!=`` included: what
    was not measured lets nothing through.

    Raises:
        ValueError: no such operator.
    """
    sign = ALIASES.get(operator)
    if sign is None:
        raise ValueError(f"unknown operator {operator!r}; known are {' '.join(ALIASES)}")
    if math.isnan(value) or math.isnan(threshold):
        return False
    # The first comparison also settles equal infinities, whose difference is no number.
    equal = value == threshold or abs(value - threshold) < EPSILON
    if equal:
        return sign in {">=", "==", "<="}
    return sign == "!=" or sign[0] == (">" if value > threshold else "<")
