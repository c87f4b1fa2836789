# SPDX-License-Identifier: Apache-2.0
"""What ``ports.Hub`` promises, held against the fake that ships and the client over a real socket alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.contract import NodeReport
from helmet_agent.errors import HubDenied, HubUnavailable
from helmet_agent.testing import MemoryHub

if TYPE_CHECKING:
    from helmet_agent.ports import Hub

Make = Callable[..., Any]
REPORT = NodeReport("n1", "0.1.0", 1.7e9, None, "stable", "a" * 64, 3, "idle", healthy=True, rates={"sources": 1.0})


@dataclass
class Subject:
    """A hub behind the port, and the strings that a test pulls behind its back."""

    hub: Hub
    kept: Callable[[], dict[str, bytes]]
    reports: Callable[[], list[dict[str, Any]]]
    deny: Callable[[], None]
    vanish: Callable[[], None]
    lose_an_answer: Callable[[], None]


def in_memory() -> Subject:
    hub = MemoryHub()
    return Subject(
        hub,
        lambda: {sha256: example.jpeg for sha256, example in hub.examples.items()},
        lambda: [report.to_json() for report in hub.reports],
        lambda: setattr(hub, "accepts_token", False),
        lambda: setattr(hub, "online", False),
        lambda: setattr(hub, "lost_answers", 1),
    )


@pytest.fixture(params=["memory", "socket"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "memory":
        return in_memory()
    server, fault = request.getfixturevalue("hub_server"), request.getfixturevalue("fault")
    return Subject(
        request.getfixturevalue("make_hub")(server),
        lambda: {sha256: jpeg for sha256, (_, jpeg) in server.kept.items()},
        lambda: [{name: value for name, value in each.items() if name != "path"} for each in server.reports],
        lambda: setattr(server, "token", "another"),
        server.down,
        lambda: server.faults.append(fault(keep=True, reset=True)),
    )


def at_once(_count: int) -> None:
    pass


def test_an_example_is_new_once_and_known_ever_after(subject: Subject, make_example: Make) -> None:
    example = make_example(1)
    assert subject.hub.put_example(example, at_once) is True
    assert subject.hub.put_example(example, at_once) is False
    assert subject.kept() == {example.record.sha256: example.jpeg}


def test_an_example_whose_answer_was_lost_is_known_when_it_comes_again(subject: Subject, make_example: Make) -> None:
    subject.lose_an_answer()
    with pytest.raises(HubUnavailable) as caught:
        subject.hub.put_example(make_example(1), at_once)
    assert caught.value.suspect
    assert subject.hub.put_example(make_example(1), at_once) is False


def test_the_pace_hears_of_every_byte_before_it_goes(subject: Subject, make_example: Make) -> None:
    counts: list[int] = []

    def pace(count: int) -> None:
        assert not subject.kept()
        counts.append(count)

    example = make_example(1, size=50_000)
    subject.hub.put_example(example, pace)
    record = len(example.record.to_bytes())
    assert 50_000 <= sum(counts) <= 50_000 + record + 512


def test_what_the_pace_raises_ends_the_transfer_and_is_passed_on(subject: Subject, make_example: Make) -> None:
    class EnoughError(Exception):
        pass

    def pace(_count: int) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        subject.hub.put_example(make_example(1), pace)
    assert subject.kept() == {}
    assert subject.hub.put_example(make_example(1), at_once) is True


def test_a_report_arrives_as_it_was_made(subject: Subject) -> None:
    subject.hub.send_report(REPORT)
    assert subject.reports() == [REPORT.to_json()]


def test_a_token_that_is_not_accepted_is_told_apart(subject: Subject, make_example: Make) -> None:
    subject.deny()
    with pytest.raises(HubDenied):
        subject.hub.put_example(make_example(1), at_once)
    with pytest.raises(HubDenied):
        subject.hub.send_report(REPORT)
    assert subject.kept() == {}


def test_a_hub_that_is_away_is_nobodys_fault(subject: Subject, make_example: Make) -> None:
    subject.vanish()
    for ask in (
        lambda: subject.hub.put_example(make_example(1), at_once),
        lambda: subject.hub.send_report(REPORT),
    ):
        with pytest.raises(HubUnavailable) as caught:
            ask()
        assert not caught.value.suspect


def test_it_is_closed_twice_from_another_thread(subject: Subject) -> None:
    subject.hub.send_report(REPORT)
    done: list[int] = []

    def close() -> None:
        subject.hub.close()
        subject.hub.close()
        done.append(1)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join(10)
    assert done == [1]
