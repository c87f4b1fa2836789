# SPDX-License-Identifier: Apache-2.0
"""How many examples an hour may be kept, in all and for each rule on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOUR_SECONDS = 3600.0
_ROUNDING = 1e-9  # refills are sums of rounded numbers; the limit must hold all the same


@dataclass(frozen=True, slots=True)
class HourlyBudget:
    """A limit: at most ``per_hour`` in any hour, of which ``burst`` may come at once.

    Attributes:
        per_hour: 0 allows nothing.
        burst: at least 1, and as good as ``per_hour`` when larger; None means a sixth of ``per_hour``. The larger it
            is, the slower the steady rate: ``per_hour - burst + 1`` an hour.

    Raises:
        ValueError: a number out of range.
    """

    per_hour: int = 60
    burst: int | None = None

    def __post_init__(self) -> None:
        if self.per_hour < 0:
            raise ValueError(f"per_hour: expected 0 or more, found {self.per_hour}")
        if self.burst is not None and self.burst < 1:
            raise ValueError(f"burst: expected 1 or more, found {self.burst}")


class TokenBucket:
    """Holds at most ``burst`` tokens and refills so slowly that no hour sees more than ``per_hour`` taken.

    From a bucket that is full at the start of a half-open window of length W, fewer than ``burst + rate * W`` tokens
    can be taken within it; with W an hour and ``rate = (per_hour - burst + 1) / hour`` that is at most ``per_hour``.
    It starts full.
    """

    def __init__(self, limit: HourlyBudget) -> None:
        burst = min(limit.burst or max(1, limit.per_hour // 6), limit.per_hour)
        refill = limit.per_hour - burst + 1 if burst else 0
        self._size = float(burst)
        self._rate = refill / _HOUR_SECONDS * (1.0 - _ROUNDING)
        self._tokens = self._size
        self._filled_seconds: float | None = None

    def available(self, now_seconds: float) -> bool:
        """Whether a token can be taken at this moment of the monotonic clock."""
        if self._filled_seconds is None:
            self._filled_seconds = now_seconds
        self._tokens = min(self._size, self._tokens + self._rate * (now_seconds - self._filled_seconds))
        self._filled_seconds = now_seconds
        return self._tokens >= 1.0

    def take(self, now_seconds: float) -> bool:
        """Takes a token; False when there is none."""
        if not self.available(now_seconds):
            return False
        self._tokens -= 1.0
        return True


class RuleBudgets:
    """One bucket for each rule, so that a rule that takes everything cannot starve one that rarely speaks.

    Args:
        default: the limit of every rule not named in ``per_rule``.
        per_rule: limits by rule name.
    """

    def __init__(self, default: HourlyBudget | None = None, per_rule: Mapping[str, HourlyBudget] | None = None) -> None:
        self._default = default or HourlyBudget()
        self._limits = dict(per_rule or {})
        self._buckets: dict[str, TokenBucket] = {}

    def available(self, rule: str, now_seconds: float) -> bool:
        """Whether a rule may keep an example now; takes nothing."""
        return self._bucket(rule).available(now_seconds)

    def spend(self, rule: str, now_seconds: float) -> bool:
        """Takes one from a rule's budget; False when it has none."""
        return self._bucket(rule).take(now_seconds)

    def _bucket(self, rule: str) -> TokenBucket:
        bucket = self._buckets.get(rule)
        if bucket is None:
            bucket = self._buckets[rule] = TokenBucket(self._limits.get(rule, self._default))
        return bucket
