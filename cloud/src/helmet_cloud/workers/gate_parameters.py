# SPDX-License-Identifier: Apache-2.0
"""The gate as an eval worker's environment asks for it, where no hub decides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.errors import ConfigError
from helmet_cloud.core.metrics import Metric
from helmet_cloud.core.trigger import Condition

if TYPE_CHECKING:
    from collections.abc import Mapping

CONDITION, DROP = "HELMET_GATE", "HELMET_GUARD_RECALL_DROP"
NO_GUARD = 1.0
_FORM = re.compile(r"\s*(\S+)\s+(\S+)\s+(\S+)\s*")


@dataclass(frozen=True, slots=True)
class GateWanted:
    """What must hold.

    Attributes:
        condition: on the figures of both models.
        recall_drop: by how much a class's recall may fall on the regression set, in [0, 1]; 1: no guard.
    """

    condition: Condition
    recall_drop: float = NO_GUARD


def read_condition(text: str, name: str = CONDITION) -> Condition:
    """A condition such as ``map50_delta > 0.02``.

    Raises:
        ConfigError: it is none.
    """
    expected = f"{name}: expected a condition such as 'map50_delta > 0.02', found {text!r}"
    found = _FORM.fullmatch(text)
    if found is None:
        raise ConfigError(expected)
    try:
        Metric.parse(found[1])
        condition = Condition(found[1], found[2], float(found[3]))
        condition.holds(0.0)
    except ValueError as error:
        raise ConfigError(f"{expected}: {error}") from error
    return condition


def read_gate(environment: Mapping[str, str]) -> GateWanted | None:
    """The gate; None where none is asked for. Without a regression set there is nothing to guard by.

    Raises:
        ConfigError: a variable cannot be right.
    """
    text = environment.get(CONDITION, "").strip()
    if not text:
        return None
    drop = environment.get(DROP, "").strip() or ("0.05" if environment.get("HELMET_REGRESSION_URL") else str(NO_GUARD))
    try:
        allowed = float(drop)
    except ValueError:
        allowed = -1.0
    if not 0.0 <= allowed <= NO_GUARD:
        raise ConfigError(f"{DROP}: expected a number from 0 to 1, found {drop!r}")
    return GateWanted(read_condition(text), allowed)
