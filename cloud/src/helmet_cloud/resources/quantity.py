# SPDX-License-Identifier: Apache-2.0
"""Kubernetes quantities, https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]{1,19}(?:\.[0-9]{0,18})?|\.[0-9]{1,18}))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?\Z"
)
_UNITS = {
    "": Fraction(1),
    **{f"{unit}i": Fraction(1 << 10 * power) for power, unit in enumerate("KMGTPE", 1)},
    **{unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", 1)},
    **{unit: Fraction(1, 1000**power) for power, unit in enumerate("mun", 1)},
}


def read_quantity(value: object) -> Fraction:
    """``2Gi``, ``500m``, ``1e9`` or a whole number, exactly.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    match = _QUANTITY.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a quantity such as 2Gi, 500m or 1")
    number, unit = Fraction(match[1]), match[2] or ""
    if unit in _UNITS:
        return number * _UNITS[unit]
    return number * Fraction(10) ** int(unit[1:])


def read_bytes(value: object) -> int:
    """A quantity as whole bytes, a fraction rounded up.

    Raises:
        ValueError: it is no quantity, or negative.
    """
    found = read_quantity(value)
    if found < 0:
        raise ValueError("expected a quantity that is not negative")
    return math.ceil(found)
