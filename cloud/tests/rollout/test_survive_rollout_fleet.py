# SPDX-License-Identifier: Apache-2.0
"""Fifty nodes and a model: a good one reaches all of them, a bad one the canaries and no more."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from helmet_cloud.cli import app
from helmet_cloud.controller.rollouts import PROMOTED, REVERTED
from helmet_cloud.doctor import diagnose
from helmet_cloud.errors import Conflict
from helmet_cloud.ports import JobRef
from helmet_cloud.settings import HubSettings
from helmet_cloud.store.models import find_models

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.survive

JOB = JobRef("default", "helmet-detection-demo")
NODES, CANARIES = (500, 20) if os.environ.get("HELMET_SOAK") else (50, 2)
AUTO = {"rollout": "auto", "rollout_reports": "6", "rollout_minutes": "3", "rollout_failure_share": "0.2"}


class Killed(BaseException):
    """The process ends here."""


def back(node: Any) -> None:
    """The probation fails: the node goes back and will not try it again."""
    node.refused[node.model] = "probation: sees nothing where the one before does"
    node.model, node.release = node.before


def ill(node: Any) -> None:
    """The node keeps it and is ill with it."""
    node.ill = "pipeline: 40% of the frames fail"


def dies(node: Any) -> None:
    """The node never speaks again."""
    node.dead = True


@pytest.mark.parametrize("fault", [back, ill])
def test_a_bad_model_reaches_few_nodes_and_goes_back_by_itself(
    make_fleet: Callable[..., Any], record_property: Callable[[str, object], None], fault: Callable[[Any], None]
) -> None:
    fleet = make_fleet(NODES, CANARIES, HubSettings.canary_share, **AUTO)
    fleet.run(60.0)
    bad = fleet.publish("bad")
    fleet.bad[bad.sha256] = fault
    spoken = fleet.run(300.0, lambda: any(node.refused or node.ill for node in fleet.nodes))
    assert spoken < 60.0
    took = fleet.run(300.0, lambda: fleet.phase == "halted")
    record_property(
        "survive",
        f"item 4: {fleet.exposed(bad.sha256)} of {NODES} nodes exposed, halted {took:.0f} s after the first failure, "
        f"{spoken + took:.0f} s after the publication",
    )
    assert spoken + took <= 60.0
    assert fleet.channel.live(JOB, "canary").sha256 == fleet.first.sha256
    assert fleet.channel.live(JOB, "canary").release > bad.release
    fleet.run(600.0)
    assert fleet.exposed(bad.sha256) <= 0.05 * NODES
    assert {node.model for node in fleet.nodes} == {fleet.first.sha256}
    assert fleet.channel.live(JOB, "stable").sha256 == fleet.first.sha256
    assert [phase for release, phase, _ in fleet.steps() if release == bad.release] == ["canary", "reverting", "halted"]


def test_a_node_that_never_speaks_again_sends_it_back(make_fleet: Callable[..., Any]) -> None:
    fleet = make_fleet(10, 2, **AUTO)
    fleet.run(60.0)
    bad = fleet.publish("bad")
    # The other canary is content, so only the silence speaks against the model.
    fleet.bad[bad.sha256] = lambda node: dies(node) if node.name == "site-0" else None
    fleet.annotate(rollout_minutes="30")
    fleet.run(900.0, lambda: fleet.phase == "halted")
    assert fleet.exposed(bad.sha256) == 2
    assert "said nothing" in fleet.steps()[-1][2]


def test_a_hub_that_stood_still_or_whose_clock_was_set_takes_nothing_back(make_fleet: Callable[..., Any]) -> None:
    fleet = make_fleet(6, 2, **{**AUTO, "rollout_reports": "12"})
    fleet.run(60.0)
    better = fleet.publish("better")
    fleet.run(80.0)
    fleet.clock.advance(3600.0)  # in the same process, as after a suspend
    fleet.rollouts.tick()
    assert fleet.phase == "canary"
    fleet.run(20.0)
    fleet.clock.advance(3600.0)
    fleet.restart()
    fleet.rollouts.tick()
    assert fleet.phase == "canary"
    fleet.run(900.0, lambda: fleet.phase == "stable")
    assert fleet.channel.live(JOB, "stable").sha256 == better.sha256


def test_a_canary_ring_that_is_too_large_gets_nothing_new(
    make_fleet: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    fleet = make_fleet(NODES, CANARIES + NODES // 20, HubSettings.canary_share, **AUTO)
    fleet.run(60.0)
    with pytest.raises(
        Conflict, match=rf"nothing was published: ring canary holds {CANARIES + NODES // 20} of {NODES}"
    ):
        fleet.publish("new")
    fleet.run(60.0)
    assert fleet.steps() == []
    assert all(not node.exposed for node in fleet.nodes)
    (said,) = [one for one in diagnose(fleet.home.folder, fleet.clock.now()).findings if one.part == "canary ring"]
    assert (said.state, "move nodes to ring stable" in said.text) == ("warning", True), said
    # Nodes that go to the other ring, as they say in their next report, make room.
    for node in fleet.nodes[CANARIES:]:
        node.ring = "stable"
    fleet.run(60.0)
    sent = fleet.publish("new")
    fleet.run(60.0)
    assert fleet.exposed(sent.sha256) == CANARIES <= NODES * 0.05
    assert "small enough" in diagnose(fleet.home.folder, fleet.clock.now()).text()
    record_property(
        "survive", f"item 4: a canary ring of {CANARIES + NODES // 20} of {NODES} nodes gets nothing, one of {CANARIES}"
    )


def test_somebody_may_let_it_out_all_the_same_and_the_history_says_so(make_fleet: Callable[..., Any]) -> None:
    fleet = make_fleet(10, 3, HubSettings.canary_share)
    with fleet.database.read() as session:
        digest = find_models(session)[0].sha256
    where = ["--job", str(JOB), "--data-dir", str(fleet.home.folder)]
    asked = ["models", "publish", digest, "--ring", "canary", "--poll-seconds", "7", *where]
    # Enrolled a moment ago, by the clock that the command reads.
    with fleet.database.write() as session:
        session.execute(text("UPDATE nodes SET added_seconds = :now"), {"now": time.time()})
    refused = CliRunner().invoke(app, asked)
    assert isinstance(refused.exception, Conflict)
    assert "or publish --any-canaries" in str(refused.exception)
    done = CliRunner().invoke(app, [*asked, "--any-canaries", "--reason", "all three are on my desk"])
    assert done.exit_code == 0, done.output
    history = CliRunner().invoke(app, ["models", "history", "--data-dir", str(fleet.home.folder)]).output
    assert "all three are on my desk (ring canary holds 3 of 10 nodes, at most 1 may" in history


def test_a_good_model_reaches_everybody_after_enough_reports_and_time(
    make_fleet: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    fleet = make_fleet(NODES, CANARIES, **AUTO)
    fleet.run(60.0)
    better = fleet.publish("better")
    took = fleet.run(900.0, lambda: fleet.phase == "stable")
    assert took >= 180.0
    assert fleet.exposed(better.sha256) == CANARIES
    fleet.run(900.0, lambda: fleet.phase == "done")
    record_property(
        "survive",
        f"item 4: a good model reached {fleet.exposed(better.sha256)} of {NODES} nodes, promoted after {took:.0f} s",
    )
    assert fleet.exposed(better.sha256) == NODES
    assert fleet.channel.live(JOB, "stable").release > better.release
    phases = [phase for release, phase, _ in fleet.steps() if release == better.release]
    assert phases == ["canary", "promoting", "stable", "done"]


def test_a_model_that_fails_only_for_everybody_goes_back_for_everybody(make_fleet: Callable[..., Any]) -> None:
    fleet = make_fleet(20, 2, **AUTO)
    fleet.run(60.0)
    bad = fleet.publish("bad")
    fleet.bad[bad.sha256] = lambda node: ill(node) if node.ring == "stable" else None
    fleet.run(1200.0, lambda: fleet.phase == "halted")
    for ring in ("canary", "stable"):
        assert fleet.channel.live(JOB, ring).sha256 == fleet.first.sha256
        assert fleet.channel.live(JOB, ring).release > bad.release + 1


def test_nobody_gets_it_before_the_window_opens_and_somebody_agrees(make_fleet: Callable[..., Any]) -> None:
    fleet = make_fleet(6, 2, **{**AUTO, "rollout": "approval", "maintenance_window": "12:10-13:00"})
    better = fleet.publish("better")
    fleet.run(900.0, lambda: fleet.phase == "approval")
    fleet.annotate(approve_release=str(better.release - 1))
    fleet.run(30.0)
    assert fleet.phase == "approval"
    fleet.annotate(approve_release=str(better.release))
    fleet.run(30.0)
    assert fleet.phase == "window"
    assert fleet.channel.live(JOB, "stable").sha256 == fleet.first.sha256
    fleet.run(900.0, lambda: fleet.phase == "stable")
    assert fleet.clock.now() % 86400 == pytest.approx(12 * 3600 + 600, abs=10)


def test_a_job_that_does_not_ask_for_it_is_left_to_whoever_promotes_by_hand(make_fleet: Callable[..., Any]) -> None:
    fleet = make_fleet(4, 2)
    fleet.publish("better")
    fleet.run(600.0)
    assert fleet.steps() == []


def test_a_newer_release_takes_the_place_of_one_that_is_on_its_way(make_fleet: Callable[..., Any]) -> None:
    fleet = make_fleet(4, 2, **AUTO)
    one = fleet.publish("one")
    fleet.run(60.0)
    two = fleet.publish("two")
    fleet.run(10.0)
    assert [(release, phase) for release, phase, _ in fleet.steps()] == [
        (one.release, "canary"),
        (one.release, "superseded"),
        (two.release, "canary"),
    ]


@pytest.mark.parametrize(("point", "model"), [(PROMOTED, "better"), (REVERTED, "bad")])
def test_a_crash_after_the_channel_changed_changes_it_no_second_time(
    make_fleet: Callable[..., Any], point: str, model: str
) -> None:
    fleet = make_fleet(6, 2, **AUTO)
    fleet.run(40.0)
    sent = fleet.publish(model)
    fleet.bad[sent.sha256] = back if model == "bad" else lambda _node: None

    def kill(reached: str) -> None:
        if reached == point:
            raise Killed

    fleet.reached = kill
    with pytest.raises(Killed):
        fleet.run(900.0)
    ring = "stable" if point == PROMOTED else "canary"
    assert fleet.phase == ("promoting" if point == PROMOTED else "reverting")
    release = fleet.channel.live(JOB, ring).release
    fleet.reached = lambda _point: None
    fleet.restart()
    fleet.run(10.0)
    assert fleet.phase == ("stable" if point == PROMOTED else "halted")
    assert fleet.channel.live(JOB, ring).release == release


def test_the_history_says_what_was_live_where_when_and_why_and_cannot_be_changed(
    make_fleet: Callable[..., Any],
) -> None:
    fleet = make_fleet(6, 2, **AUTO)
    fleet.run(40.0)
    bad = fleet.publish("bad")
    fleet.bad[bad.sha256] = back
    fleet.run(300.0, lambda: fleet.phase == "halted")
    for table in ("rollout_steps", "publications"):
        for order in (f"DELETE FROM {table}", f"UPDATE {table} SET reason = 'nothing happened'"):  # noqa: S608 - names
            with pytest.raises(DBAPIError, match="only added to"), fleet.database.write() as session:
                session.execute(text(order))
    asked = CliRunner().invoke(app, ["models", "history", "--data-dir", str(fleet.home.folder), "--json"])
    found = json.loads(asked.output)
    assert [row["state"] for row in found if row["ring"] == "rollout"] == ["halted", "reverting", "canary"]
    lived = next(row for row in found if row["ring"] == "canary" and row["sha256"] == bad.sha256)
    after = next(row for row in found if row["ring"] == "canary" and row["release"] == bad.release + 1)
    assert lived["begun_seconds"] < lived["until_seconds"] == after["finished_seconds"]
    assert (after["sha256"], after["until_seconds"]) == (fleet.first.sha256, None)
    assert "probation: sees nothing" in after["reason"]
    shown = CliRunner().invoke(app, ["models", "history", "--data-dir", str(fleet.home.folder)]).output
    assert "probation: sees nothing" in shown
