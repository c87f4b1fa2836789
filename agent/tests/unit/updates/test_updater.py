# SPDX-License-Identifier: Apache-2.0
"""What the updater does about good models, bad models, and surroundings that get in the way."""

from __future__ import annotations

from typing import Any

import pytest

from helmet_agent.errors import (
    ConfigError,
    ModelError,
    RefusedError,
    StorageError,
    UntrustedError,
    UpdateError,
)
from helmet_agent.services.probation import Opinion
from helmet_agent.services.update_state import Phase, Verdict

FULL = StorageError("cannot write /models: disk full; free some space")


def test_the_journal_reads_like_the_list_of_steps(node: Any) -> None:
    node.confirm(2)
    assert node.shelf.kinds() == [
        "offered",
        "downloading",
        "verified",
        "installed",
        "probing",
        "live",
        "confirmed",
    ]


def test_nothing_offered_changes_nothing(node: Any) -> None:
    assert node.updater.update() is None
    assert node.shelf.kinds() == []
    assert node.live.serves == node.base.key


def test_the_current_model_offered_again_changes_nothing(node: Any) -> None:
    node.confirm(2)
    before = len(node.shelf.lines)
    assert node.updater.update() is Verdict.HAVE
    assert len(node.shelf.lines) == before


def test_a_model_that_the_probe_refuses_never_serves_and_is_not_tried_again(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.probe.problems = ("the outputs are NaN",)
    node.updater.update()
    assert node.live.serves == node.base.key
    assert [one.reason for one in node.updater.state.quarantined] == ["the outputs are NaN"]
    node.probe.problems = ()
    assert node.updater.update() is Verdict.QUARANTINED
    assert node.again().updater.state.quarantined == node.updater.state.quarantined
    assert node.probe.runs == 1
    assert node.updater.unquarantine(f"{2:064x}") == 1
    node.updater.update()
    assert node.live.serves == node.feed.offer.key


@pytest.mark.parametrize("fault", [ModelError("no LiteRT model"), ConfigError("mining.rules: unknown rule")])
def test_a_model_that_cannot_be_loaded_here_is_refused(node: Any, make_offer: Any, fault: Exception) -> None:
    node.feed.offer = make_offer(2)
    node.live.load_fails[node.feed.offer.key] = fault
    node.updater.update()
    assert node.live.serves == node.base.key
    assert node.updater.state.quarantined[0].reason == str(fault)


@pytest.mark.parametrize(
    ("where", "fault", "resumes"),
    [
        ("feed.check_fails", UpdateError("answered 404"), Phase.IDLE),
        ("feed.check_fails", UntrustedError("signed by other keys"), Phase.IDLE),
        ("feed.fetch_fails", UpdateError("cut short"), Phase.METADATA),
        ("feed.fetch_fails", FULL, Phase.METADATA),
        ("shelf.install_fails", FULL, Phase.METADATA),
        ("probe.fails", UpdateError("no process could be started"), Phase.INSTALLED),
    ],
)
def test_faults_of_the_surroundings_are_never_held_against_the_model(
    node: Any, make_offer: Any, where: str, fault: Exception, resumes: Phase
) -> None:
    node.feed.offer = make_offer(2)
    part, name = where.split(".")
    setattr(getattr(node, part), name, fault)
    for _ in range(5):
        with pytest.raises(type(fault)):
            node.updater.update()
        assert node.updater.state.phase is resumes
        assert node.updater.state.quarantined == ()
        assert node.live.serves == node.base.key
    setattr(getattr(node, part), name, None)
    assert node.updater.update() is not None
    assert node.live.serves == node.feed.offer.key


@pytest.mark.parametrize("lines", range(6))
def test_a_full_disk_under_the_journal_stops_the_update_and_not_the_model(
    node: Any, make_offer: Any, lines: int
) -> None:
    node.feed.offer = make_offer(2)
    node.shelf.room_for = lines
    with pytest.raises(StorageError, match="disk full"):
        node.updater.update()
    assert node.live.serves == node.base.key
    assert node.updater.state.quarantined == ()
    assert node.shelf.pointers == (node.base.key, node.base.key)
    node.shelf.room_for = None
    node.updater.update()
    assert node.live.serves == node.feed.offer.key


def test_a_model_too_early_to_be_confirmed_waits(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    node.live.see(1000)
    node.clock.advance(59.0)
    node.updater.watch()
    assert node.updater.state.phase is Phase.LIVE
    node.clock.advance(2.0)
    node.updater.watch()
    assert node.updater.state.phase is Phase.IDLE
    assert node.live.before is None


def test_without_frames_a_model_stays_on_probation(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    node.clock.advance(100_000.0)
    node.live.see(99)
    node.updater.watch()
    assert node.updater.state.phase is Phase.LIVE


def test_a_model_that_fails_on_frames_goes_back_and_into_quarantine(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    assert node.live.serves == node.feed.offer.key
    node.live.see(10, failures=3)
    node.updater.watch()
    assert node.live.serves == node.base.key
    assert "failed on 3 frames" in node.updater.state.quarantined[0].reason


def watched(node: Any, opinion: Opinion, **seen: Any) -> None:
    node.live.opinion_of_old = opinion
    for _ in range(10):
        node.live.see(20, **seen)
        node.clock.advance(7.0)
        node.updater.watch()


def test_a_model_that_sees_nothing_where_the_old_one_does_goes_back(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    watched(node, Opinion(3, 0.01), detections=0)
    assert node.live.serves == node.base.key
    assert "shows nothing" in node.updater.state.quarantined[0].reason


def test_an_empty_scene_is_no_fault_of_the_model(node: Any, make_offer: Any) -> None:
    node.live.see(1000)
    node.feed.offer = make_offer(2)
    node.updater.update()
    watched(node, Opinion(0, 0.01), detections=0)
    assert node.updater.state.last_confirmed.key == node.feed.offer.key


def test_a_model_that_is_slower_than_the_one_before_goes_back(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    watched(node, Opinion(1, 0.010), seconds=0.018)
    assert node.live.serves == node.base.key
    assert "takes 18.0 ms a frame" in node.updater.state.quarantined[0].reason


def test_a_machine_that_is_busy_is_no_fault_of_the_model(node: Any, make_offer: Any) -> None:
    node.live.see(1000, seconds=0.005)
    node.feed.offer = make_offer(2)
    node.updater.update()
    watched(node, Opinion(1, 0.030), seconds=0.030)
    assert node.updater.state.last_confirmed.key == node.feed.offer.key


def test_the_pipeline_is_rescued_at_once_and_the_reason_written_down_after(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    assert node.updater.rescue(ModelError("outputs are NaN"))
    assert node.live.serves == node.base.key
    node.updater.watch()
    assert node.updater.state.phase is Phase.IDLE
    assert "outputs are NaN" in node.updater.state.quarantined[0].reason


def test_a_crash_between_the_rescue_and_its_line_goes_back_too(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    node.updater.rescue(ModelError("outputs are NaN"))
    assert node.again().live.serves == node.base.key


def test_nobody_rescues_a_confirmed_model(node: Any) -> None:
    found = node.confirm(2)
    assert not node.updater.rescue(ModelError("outputs are NaN"))
    assert node.live.serves == found.key


def test_going_back_does_not_wait_for_the_disk(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    node.live.see(10, failures=9)
    node.shelf.room_for = 0
    with pytest.raises(StorageError):
        node.updater.watch()
    assert node.live.serves == node.base.key
    node.shelf.room_for = None
    node.updater.watch()
    assert node.updater.state.phase is Phase.IDLE
    assert node.updater.state.quarantined


def test_a_newer_offer_takes_the_place_of_one_on_its_way(node: Any, make_offer: Any) -> None:
    node.feed.offer, node.feed.fetch_fails = make_offer(2), UpdateError("cut short")
    with pytest.raises(UpdateError):
        node.updater.update()
    node.feed.offer, node.feed.fetch_fails = make_offer(3), None
    node.updater.update()
    assert node.live.serves == node.feed.offer.key


def test_a_channel_that_takes_its_offer_back_ends_what_was_on_its_way(node: Any, make_offer: Any) -> None:
    current = node.confirm(2)
    node.feed.offer = make_offer(3, hot=False)
    node.updater.update()
    assert node.updater.state.phase is Phase.WAITING
    node.feed.offer = current
    node.updater.update()
    assert node.updater.state.phase is Phase.IDLE
    assert node.again().live.serves == current.key


def test_a_cold_model_is_tried_now_and_taken_at_the_next_start(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2, hot=False)
    node.updater.update()
    assert node.probe.runs == 1
    assert node.live.serves == node.base.key
    node.updater.update()
    assert node.probe.runs == 1
    second = node.again()
    assert second.live.serves == node.feed.offer.key
    assert second.updater.state.phase is Phase.LIVE
    second.live.see(200)
    second.clock.advance(61.0)
    second.updater.watch()
    assert second.updater.state.last_confirmed.key == node.feed.offer.key


def test_an_older_release_is_refused_although_it_is_signed(node: Any, make_offer: Any) -> None:
    node.confirm(3)
    node.feed.offer = make_offer(2)
    assert node.updater.update() is Verdict.OLDER
    assert node.feed.fetches == 1
    assert node.updater.state.quarantined == ()


def test_an_old_digest_under_a_new_release_is_the_publishers_way_back(node: Any) -> None:
    node.confirm(2)
    node.confirm(3)
    node.confirm(2, release=4)
    assert node.updater.state.current.sha256 == f"{2:064x}"


def test_the_operator_goes_back_and_the_channel_does_not_undo_it(node: Any) -> None:
    second, third = node.confirm(2), node.confirm(3)
    model = node.updater.roll_back()
    assert model.key == node.live.serves == second.key
    assert node.updater.update() is Verdict.QUARANTINED
    assert node.updater.roll_back(leaving=third.key).key == second.key
    assert node.live.serves == second.key


def test_the_operator_ends_a_probation(node: Any, make_offer: Any) -> None:
    node.feed.offer = make_offer(2)
    node.updater.update()
    node.updater.roll_back()
    assert node.live.serves == node.base.key
    assert node.updater.state.quarantined[0].reason == "rolled back by the operator"


def test_there_is_nothing_before_the_first_model(node: Any) -> None:
    with pytest.raises(RefusedError, match="no earlier model"):
        node.updater.roll_back()
    with pytest.raises(RefusedError, match="in quarantine"):
        node.updater.unquarantine("f" * 64)


def test_only_models_that_may_be_needed_stay_on_the_disk(node: Any) -> None:
    offers = [node.confirm(number) for number in range(2, 8)]
    assert node.shelf.installs == {node.base.key, *(found.key for found in offers[-3:])}


def test_a_damaged_model_is_given_up_for_the_one_before_and_fetched_again(node: Any) -> None:
    second, third = node.confirm(2), node.confirm(3)
    node.shelf.damaged.add(third.key)
    again = node.again()
    assert again.live.serves == second.key
    assert again.updater.state.quarantined == ()
    again.feed.offer = third
    again.updater.update()
    assert again.live.serves == third.key


def test_another_bundled_model_takes_over_only_where_no_channel_model_was_confirmed(node: Any, make_offer: Any) -> None:
    newer = make_offer(9)
    node.shelf.installs.add(newer.key)
    other = type(node)(node.shelf)
    other.book.base = other.base.__class__(newer.key, newer.manifest.model.sha256, 9)
    other.book.begin()
    assert other.book.state.current.key == newer.key
    node.feed.offer = None
    fresh = type(node)()
    confirmed = fresh.confirm(2)
    fresh.shelf.installs.add(newer.key)
    fresh.book.base = other.book.base
    fresh.book.begin()
    assert fresh.book.state.current.key == confirmed.key
