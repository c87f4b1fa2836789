# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import ComplianceEvent, Detection
from helmet_agent.vision.compliance import Compliance, ComplianceSettings, match_heads
from helmet_agent.vision.tracking import Tracker
from helmet_agent.vision.tracks import Track, TrackUpdate

if TYPE_CHECKING:
    from helmet_agent.contract import Box

HEAD: Box = (40.0, 10.0, 60.0, 30.0)
PERSON: Box = (20.0, 8.0, 80.0, 200.0)
NAMES = {"b": "helmet-off", "w": "helmet-on", "h": "helmet"}


def track(label: str, number: int = 1, box: Box = HEAD, missed: int = 0, seen: float = 0.0) -> Track:
    return Track(number, label, 0.5, box, 1, missed, 0.0, seen, (0.5,), (label,))


def play(
    rule: Compliance, script: str, first: int = 0, extra: tuple[Track, ...] = ()
) -> list[tuple[int, ComplianceEvent]]:
    """One frame a letter: b bare, w worn, h a hat, . missed; two frames a second."""
    found = []
    for frame, letter in enumerate(script, first):
        head = track("helmet-off", missed=1) if letter == "." else track(NAMES[letter], seen=frame / 2)
        update = TrackUpdate((head, *extra))
        found += [(frame, event) for event in rule.update(update, frame, frame / 2)]
    return found


@pytest.mark.parametrize(
    ("script", "kinds"),
    [
        ("bb", []),
        ("bbb", ["2 started"]),
        ("bwbwb", ["4 started"]),
        ("bwwbwwbww", []),
        ("b.b.b", ["4 started"]),
        ("bbbwww", ["2 started", "5 ended"]),
        ("bbbww", ["2 started"]),
        ("bbbwwbbbwwbb", ["2 started"]),
        ("wwwbbbwww", ["5 started", "8 ended"]),
        ("bbbwwwbbb", ["2 started", "5 ended", "8 started"]),
        ("hhhhhhh", []),
        ("bbbhhhhhhh", ["2 started"]),
        ("bhbhb", ["4 started"]),
    ],
)
def test_three_of_five_frames_must_agree(script: str, kinds: list[str]) -> None:
    found = play(Compliance("cam", ComplianceSettings(3, 5)), script)
    assert [f"{frame} {event.kind.removeprefix('violation_')}" for frame, event in found] == kinds


def test_each_change_asks_for_new_frames() -> None:
    # two of five: the bare frames before the end must not count towards the next start
    kinds = [(frame, event.kind) for frame, event in play(Compliance("cam", ComplianceSettings(2, 5)), "bbwwbwb")]
    assert kinds == [(1, "violation_started"), (3, "violation_ended"), (6, "violation_started")]


@given(st.text("bwh.", max_size=60), st.integers(1, 8), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_starts_and_ends_alternate_and_belong_together(script: str, needed: int, more: int) -> None:
    rule = Compliance("cam", ComplianceSettings(needed, needed + more))
    found = play(rule, script)
    found += [(len(script), event) for event in rule.finish(len(script), len(script) / 2)]
    kinds = [event.kind for _, event in found]
    assert kinds == ["violation_started", "violation_ended"] * (len(kinds) // 2)
    starts, ends = found[::2], found[1::2]
    assert len({event.id for _, event in starts}) == len(starts)
    for (began, start), (_, end) in zip(starts, ends, strict=True):
        assert start.id == end.id
        assert start.duration_seconds is None
        assert end.duration_seconds is not None
        assert end.duration_seconds >= 0.0
        # nothing starts on less evidence than was asked for
        assert script[: began + 1].count("b") >= needed
    assert rule.states == {}


@given(st.text("wh.", max_size=40), st.integers(1, 4))
@settings(deadline=None)
def test_nobody_is_accused_without_a_bare_frame(script: str, needed: int) -> None:
    assert play(Compliance("cam", ComplianceSettings(needed, 5)), script) == []


def test_a_hat_that_is_not_worn_never_ends_a_violation() -> None:
    rule = Compliance("cam", ComplianceSettings(3, 5))
    assert len(play(rule, "bbb" + "h" * 40)) == 1
    assert rule.states == {1: "violating"}


def test_an_event_says_where_and_when() -> None:
    rule = Compliance("yard", ComplianceSettings(2, 2))
    (_, start), (_, end) = play(rule, "bbww", first=10, extra=(track("person", 2, PERSON),))
    assert start == ComplianceEvent(
        id="yard-5-1-11",
        kind="violation_started",
        source="yard",
        frame=11,
        time_seconds=5.5,
        track=1,
        label="helmet-off",
        score=0.5,
        box=HEAD,
        person=PERSON,
    )
    assert (end.kind, end.frame, end.label, end.duration_seconds, end.person) == (
        "violation_ended", 13, "helmet-on", 1.0, PERSON,
    )  # fmt: skip


def test_two_runs_of_one_camera_do_not_share_ids() -> None:
    # frames and tracks count from the start again; only the time has moved on
    ids = set()
    for start in (1000.0, 5000.0):
        rule = Compliance("cam", ComplianceSettings(1, 1))
        ids |= {event.id for event in rule.update(TrackUpdate((track("helmet-off"),)), 0, start)}
    assert len(ids) == 2


def test_a_lost_track_ends_its_violation_when_it_was_last_seen() -> None:
    rule = Compliance("cam", ComplianceSettings(2, 2))
    play(rule, "bbbb")
    lost = track("helmet-off", missed=9, seen=1.5)
    (end,) = rule.update(TrackUpdate((), lost=(lost,)), 30, 15.0)
    assert (end.kind, end.frame, end.time_seconds, end.duration_seconds) == ("violation_ended", 30, 15.0, 1.0)
    assert rule.update(TrackUpdate((), lost=(lost,)), 31, 15.5) == ()
    assert rule.states == {}


def test_a_protected_head_that_is_lost_says_nothing() -> None:
    rule = Compliance("cam", ComplianceSettings(2, 2))
    play(rule, "www")
    assert rule.states == {1: "protected"}
    assert rule.update(TrackUpdate((), lost=(track("helmet-on", missed=3),)), 30, 15.0) == ()


def test_time_that_was_set_back_gives_no_negative_duration() -> None:
    rule = Compliance("cam", ComplianceSettings(1, 1))
    rule.update(TrackUpdate((track("helmet-off", seen=1000.0),)), 0, 1000.0)
    (end,) = rule.update(TrackUpdate((track("helmet-on", seen=10.0),)), 1, 10.0)
    assert end.duration_seconds == 0.0


def test_a_person_can_be_required() -> None:
    strict = ComplianceSettings(2, 2, require_person=True)
    assert play(Compliance("cam", strict), "bbbb") == []
    assert len(play(Compliance("cam", strict), "bbbb", extra=(track("person", 2, PERSON),))) == 1
    hidden = track("person", 2, PERSON, missed=1)
    assert play(Compliance("cam", strict), "bbbb", extra=(hidden,)) == []
    assert len(play(Compliance("cam", ComplianceSettings(2, 2)), "bbbb")) == 1


def test_heads_are_judged_apart() -> None:
    rule = Compliance("cam", ComplianceSettings(3, 3))
    heads = (
        track("helmet-on", 1),
        track("helmet-off", 2, (140, 10, 160, 30)),
        track("helmet-off", 3, (240, 10, 260, 30)),
    )
    events = [event for frame in range(3) for event in rule.update(TrackUpdate(heads), frame, 0.0)]
    assert [event.track for event in events] == [2, 3]
    assert rule.states == {1: "protected", 2: "violating", 3: "violating"}


def test_finish_ends_what_is_open_once() -> None:
    rule = Compliance("cam", ComplianceSettings(2, 2))
    play(rule, "bbbb")
    (end,) = rule.finish(4, 2.0)
    assert (end.kind, end.frame, end.duration_seconds) == ("violation_ended", 4, 1.0)
    assert rule.finish(5, 2.5) == ()


@pytest.mark.parametrize(("needed", "window"), [(0, 5), (6, 5)])
def test_a_rule_that_cannot_be_met_is_refused(needed: int, window: int) -> None:
    with pytest.raises(ValueError, match="frames_needed"):
        ComplianceSettings(needed, window)


@pytest.mark.parametrize(
    ("head", "belongs"),
    [
        (HEAD, True),
        ((40, -5, 60, 15), True),  # sticks out at the top
        ((40, 110, 60, 130), False),  # at the hip
        ((85, 10, 105, 30), False),  # beside
        ((40, -60, 60, -40), False),  # somebody behind, above
    ],
)
def test_a_head_belongs_to_the_upper_part_of_a_person(head: Box, belongs: bool) -> None:
    assert (match_heads([head], [PERSON]) == {0: 0}) is belongs


def test_people_side_by_side_keep_their_own_heads() -> None:
    left, right = (0.0, 0.0, 100.0, 300.0), (60.0, 10.0, 160.0, 310.0)
    heads = [(95.0, 12.0, 125.0, 45.0), (35.0, 2.0, 65.0, 35.0)]
    assert match_heads(heads, [left, right]) == {0: 1, 1: 0}


def test_a_head_inside_two_people_goes_to_the_one_below_it() -> None:
    left, right = (0.0, 0.0, 100.0, 300.0), (20.0, 0.0, 120.0, 300.0)
    assert match_heads([(75.0, 2.0, 95.0, 30.0), (25.0, 2.0, 45.0, 30.0)], [left, right]) == {0: 1, 1: 0}


BOXES = st.lists(
    st.builds(
        lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)),
        st.integers(0, 50), st.integers(0, 50), st.integers(1, 50), st.integers(1, 50),
    ),
    max_size=8,
)  # fmt: skip


@given(BOXES, BOXES)
@settings(deadline=None)
def test_nobody_has_two_heads(heads: list[Box], persons: list[Box]) -> None:
    owners = match_heads(heads, persons)
    assert len(set(owners.values())) == len(owners)
    for index, number in owners.items():
        centre = (heads[index][0] + heads[index][2]) / 2
        assert persons[number][0] <= centre <= persons[number][2]


def test_tracker_and_rule_together_make_one_event_of_one_walk() -> None:
    tracker, rule = Tracker(), Compliance("cam", ComplianceSettings())
    events: list[ComplianceEvent] = []
    for frame in range(60):
        x = 8.0 * frame
        # every fifth frame the model misses the head, every ninth it sees a helmet
        label = "helmet-on" if frame % 9 == 8 else "helmet-off"
        found = [Detection("person", 0.8, (x - 20, 8, x + 40, 200))]
        if frame % 5 and frame < 40:
            found.append(Detection(label, 0.6, (x, 10, x + 20, 30)))
        events += rule.update(tracker.update(found, frame / 10), frame, frame / 10)
    assert [event.kind for event in events] == ["violation_started", "violation_ended"]
    assert events[0].person is not None
    assert events[1].duration_seconds == pytest.approx(3.9 - events[0].time_seconds)
