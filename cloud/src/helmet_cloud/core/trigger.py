# SPDX-License-Identifier: Apache-2.0
"""When a stage may begin: a window of the day and a condition, both of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_cloud.core.operators import ALIASES, compare

if TYPE_CHECKING:
    from helmet_cloud.core.windows import Window

NUM_OF_SAMPLES = "num_of_samples"


@dataclass(frozen=True, slots=True)
class Condition:
    """``metric operator threshold``."""

    metric: str
    operator: str
    threshold: float

    def holds(self, value: float) -> bool:
        """Whether a value of the metric satisfies it.

        Raises:
            ValueError: no such operator.
        """
        return compare(self.operator, value, self.threshold)

    def __str__(self) -> str:
        return f"{self.metric} {ALIASES.get(self.operator, self.operator)} {self.threshold:g}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """A stage's trigger.

    Attributes:
        condition: on a metric.
        window: None: at any time.
        check_seconds: how often to look.
    """

    condition: Condition
    window: Window | None
    check_seconds: float


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a trigger found.

    Attributes:
        met: whether the stage may begin.
        message: progress for people, such as ``0 of 500 samples``.
    """

    met: bool
    message: str


def look_at_samples(trigger: Trigger, samples: int, now: float) -> Look:
    """The training trigger.

    Args:
        trigger: of the train stage.
        samples: pending training samples: valid, distinct, not tried yet.
        now: Unix time in seconds.
    """
    condition = trigger.condition
    if condition.metric != NUM_OF_SAMPLES:
        known = f"the training trigger knows {NUM_OF_SAMPLES} only"
        return Look(met=False, message=f"cannot start: the metric {condition.metric!r} is unknown; {known}")
    progress = f"{samples} of {condition.threshold:g} samples"
    try:
        enough = condition.holds(samples)
    except ValueError as error:
        return Look(met=False, message=f"cannot start: {error}")
    if not enough:
        needed = "" if condition.operator in {">", "gt"} else f" (trigger: {condition})"
        return Look(met=False, message=progress + needed)
    if samples == 0:
        # A condition such as "num_of_samples < 10" holds for nothing at all, and there is nothing to train on.
        return Look(met=False, message=f"{progress} (trigger: {condition}): there is nothing new to train on")
    if trigger.window is not None and now not in trigger.window:
        return Look(met=False, message=f"{progress}: enough, waits for the window {trigger.window}")
    return Look(met=True, message=progress)
