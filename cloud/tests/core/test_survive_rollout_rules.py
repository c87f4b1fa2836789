# SPDX-License-Identifier: Apache-2.0
"""The rules of a staged rollout, alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.core.rollout import (
    APPROVAL,
    CANARY,
    DONE,
    PROMOTING,
    REVERTING,
    SILENT_SECONDS,
    STABLE,
    WINDOW,
    Heard,
    Rollout,
    RolloutRules,
    Surroundings,
    hear,
    judge,
    next_phase,
)

pytestmark = pytest.mark.survive

NEW, OLD = "b" * 64, "a" * 64
RULES = RolloutRules(reports=4, seconds=120.0, failure_share=0.25)
OUT = Rollout(release=7, sha256=NEW)


def said(at: float, node: str = "canary-1", ring: str = "canary", **more: object) -> Heard:
    good = Heard(node, ring, at, 7, NEW, "confirmed", healthy=True)
    return replace(good, **more)  # type: ignore[arg-type]


def watched(*reports: Heard, rollout: Rollout = OUT) -> Rollout:
    for report in reports:
        rollout = replace(rollout, nodes=hear(rollout, [report]))
    return rollout


def good(rollout: Rollout = OUT) -> Rollout:
    return watched(*(said(60.0 * number) for number in range(1, 5)), rollout=rollout)


def test_enough_healthy_reports_over_enough_time_promote() -> None:
    assert next_phase(good(), RULES, Surroundings(300.0))[0] == PROMOTING


@pytest.mark.parametrize(
    ("reports", "why"),
    [
        ([60.0, 120.0, 180.0], "3 of 4"),
        ([60.0, 61.0, 62.0, 63.0], "0.1 of 2 minutes"),
        ([60.0, 180.0, 180.0, 180.0], "2 of 4"),
    ],
)
def test_too_few_reports_too_close_ones_and_the_same_one_again_do_not(reports: list[float], why: str) -> None:
    phase, reason = next_phase(watched(*map(said, reports)), RULES, Surroundings(200.0))
    assert phase == CANARY
    assert why in reason


def test_a_model_on_probation_is_not_healthy_yet() -> None:
    rollout = watched(*(said(60.0 * number, state="probation") for number in range(1, 9)))
    assert next_phase(rollout, RULES, Surroundings(500.0))[0] == CANARY


@pytest.mark.parametrize(
    "report",
    [said(400.0, refused="NaN", model=OLD, release=6), said(400.0, healthy=False, problem="inference: fails")],
)
def test_a_refusal_and_an_illness_send_it_back(report: Heard) -> None:
    phase, reason = next_phase(watched(report, rollout=good()), RULES, Surroundings(401.0))
    assert phase == REVERTING
    assert "canary-1" in reason


def test_failures_below_the_share_do_not_stop_it() -> None:
    rollout = watched(said(400.0, "canary-9", refused="NaN", model=OLD), rollout=good())
    rollout = watched(*(said(401.0, f"canary-{number}") for number in range(2, 5)), rollout=rollout)
    assert len(judge(rollout, Surroundings(402.0))[0]) == 1
    assert next_phase(rollout, RULES, Surroundings(402.0))[0] == PROMOTING


def test_a_node_that_falls_silent_with_it_has_failed() -> None:
    rollout = good()
    assert next_phase(rollout, RULES, Surroundings(240.0 + SILENT_SECONDS + 1))[0] == REVERTING


def test_a_hub_that_was_away_holds_no_silence_against_anybody() -> None:
    around = Surroundings(240.0 + 3 * SILENT_SECONDS, listening_seconds=SILENT_SECONDS)
    assert judge(good(), around) == ({}, 1)
    assert list(judge(good(), replace(around, listening_seconds=SILENT_SECONDS + 1))[0]) == ["canary-1"]


def test_a_node_that_was_ill_before_says_nothing_about_the_model() -> None:
    ill = said(10.0, "canary-2", model=OLD, release=6, healthy=False, problem="camera: away")
    rollout = watched(ill, said(100.0, "canary-2", healthy=False, problem="camera: away"), rollout=good())
    assert judge(rollout, Surroundings(250.0)) == ({}, 1)
    well_then_ill = watched(said(200.0, "canary-2"), said(210.0, "canary-2", healthy=False), rollout=rollout)
    assert list(judge(well_then_ill, Surroundings(250.0))[0]) == ["canary-2"]


def test_it_waits_for_the_window_and_for_whoever_has_to_agree() -> None:
    rules = replace(RULES, approval=True)
    closed = Surroundings(250.0, open=False, window="01:00-04:00 UTC")
    assert next_phase(good(), rules, closed)[0] == APPROVAL
    phase, reason = next_phase(good(replace(OUT, phase=APPROVAL)), rules, replace(closed, approved=True))
    assert (phase, "01:00-04:00" in reason) == (WINDOW, True)
    waiting = good(replace(OUT, phase=WINDOW))
    assert next_phase(waiting, rules, replace(closed, approved=True, open=True))[0] == PROMOTING
    failed = watched(said(260.0, refused="slow", model=OLD), rollout=waiting)
    assert next_phase(failed, rules, replace(closed, now=261.0))[0] == REVERTING


def test_everybody_is_watched_after_the_promotion_too() -> None:
    out = replace(good(), phase=STABLE, promoted=8)
    assert next_phase(out, RULES, Surroundings(250.0))[0] == STABLE
    everybody = watched(*(said(60.0 * n, "site-1", "stable", release=8) for n in range(5, 9)), rollout=out)
    assert next_phase(everybody, RULES, Surroundings(481.0))[0] == DONE
    assert (
        next_phase(watched(said(490.0, "site-1", "stable", refused="x"), rollout=everybody), RULES, Surroundings(491))[
            0
        ]
        == REVERTING
    )


@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(1.0, 600.0), st.booleans(), st.booleans()), min_size=1, max_size=60)
)
def test_it_is_never_promoted_while_more_than_the_share_has_failed(
    reports: list[tuple[int, float, bool, bool]],
) -> None:
    rollout, now = OUT, 0.0
    for node, pause, healthy, refuses in reports:
        now += pause
        report = said(now, f"canary-{node}", healthy=healthy, refused="no" if refuses else None)
        rollout = watched(report, rollout=rollout)
        phase, _ = next_phase(rollout, RULES, Surroundings(now))
        failed, told = judge(rollout, Surroundings(now))
        assert (phase == REVERTING) == (bool(failed) and len(failed) > 0.25 * told)
        if phase == PROMOTING:
            assert sum(seen.healthy for seen in rollout.nodes.values()) >= RULES.reports
