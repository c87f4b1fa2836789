# SPDX-License-Identifier: Apache-2.0
"""How large a canary ring may be, alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.core.exposure import ACTIVE_SECONDS, Exposure, Member, allowed, exposure

pytestmark = pytest.mark.survive

JOB, NOW = "default/one", 1_800_000_000.0
NODE = Member("stable", JOB, reported=True, at_seconds=NOW)
SHARES = st.floats(0.0, 1.0)
MEMBERS = st.lists(
    st.builds(
        Member,
        st.sampled_from(["canary", "stable"]),
        st.sampled_from([JOB, "default/two", None]),
        st.booleans(),
        st.floats(NOW - 2 * ACTIVE_SECONDS, NOW),
    )
)


@given(MEMBERS, SHARES)
def test_what_is_let_out_reaches_one_node_or_no_more_than_the_share(members: list[Member], share: float) -> None:
    found = exposure(members, JOB, NOW)
    if not found.excess(share):
        assert found.canaries <= 1 or found.canaries <= share * found.fleet + 1e-6


@given(st.integers(0, 10_000), SHARES)
def test_one_canary_always_may_and_everybody_where_all_are_allowed(fleet: int, share: float) -> None:
    assert not Exposure(1, max(fleet, 1)).excess(share)
    assert not Exposure(fleet, fleet).excess(1.0)


@given(st.integers(0, 1000), st.integers(0, 1000), SHARES, SHARES)
def test_a_larger_fleet_or_share_never_allows_less(one: int, other: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert allowed(min(one, other), low) <= allowed(max(one, other), high)


@pytest.mark.parametrize(("fleet", "most"), [(0, 1), (1, 1), (39, 1), (40, 2), (50, 2), (59, 2), (60, 3), (500, 25)])
def test_five_percent_of_a_fleet(fleet: int, most: int) -> None:
    assert allowed(fleet, 0.05) == most


def test_who_counts() -> None:
    silent = NOW - ACTIVE_SECONDS - 1.0
    members = [
        NODE,
        replace(NODE, at_seconds=silent),  # makes the fleet no larger
        replace(NODE, ring="canary"),
        replace(NODE, ring="canary", at_seconds=silent),  # may come back, and takes the model then
        replace(NODE, ring="canary", job=None, reported=False),  # has said nothing yet
        replace(NODE, ring="canary", job="default/two"),
        replace(NODE, ring="canary", job=None),  # follows none
    ]
    assert exposure(members, JOB, NOW) == Exposure(3, 4)
    assert Exposure(3, 4).excess(0.05) == "ring canary holds 3 of 4 nodes, at most 1 may (canary_share = 0.05)"
