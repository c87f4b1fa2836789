# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.services.bandwidth import BURST_SECONDS, TokenBucket
from helmet_agent.testing import ManualClock

SIZES = st.lists(st.integers(1, 100_000), min_size=1, max_size=60)
RATES = st.integers(1024, 10_000_000)


@settings(deadline=None)
@given(rate=RATES, sizes=SIZES, idle=st.lists(st.floats(0, 30), min_size=60, max_size=60))
def test_no_span_ever_carries_more_than_the_rate_and_one_burst(rate: int, sizes: list[int], idle: list[float]) -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate, clock)
    sent: list[tuple[float, int]] = []
    for size, pause in zip(sizes, idle, strict=False):
        clock.advance(pause)
        clock.advance(bucket.take(size))
        sent.append((clock.monotonic(), size))
    for first in range(len(sent)):
        total = 0
        for when, size in sent[first:]:
            total += size
            # A piece counts from the moment when it may go, so the first one of a span may have waited before it.
            assert total - sent[first][1] <= rate * (when - sent[first][0] + BURST_SECONDS) * (1 + 1e-9) + 1e-6


@settings(deadline=None)
@given(rate=RATES, sizes=SIZES)
def test_a_backlog_uses_all_of_the_rate(rate: int, sizes: list[int]) -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate, clock)
    for size in sizes:
        clock.advance(bucket.take(size))
    assert clock.monotonic() == pytest.approx(max(0.0, sum(sizes) / rate - BURST_SECONDS), abs=1e-6)


def test_without_a_cap_nothing_waits() -> None:
    bucket = TokenBucket(0, ManualClock())
    assert [bucket.take(1 << 40) for _ in range(3)] == [0.0, 0.0, 0.0]
