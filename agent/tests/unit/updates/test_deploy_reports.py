# SPDX-License-Identifier: Apache-2.0
"""What Sedna's job hears of the models that it announced: one true word about each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sedna_local_controller import LocalController as Controller

from helmet_agent.adapters.sedna_feed import LocalController, WorkerName
from helmet_agent.errors import ConfigError, RefusedError, StorageError, UpdateError
from helmet_agent.services.deploy_reports import MOST_TRIES, DeployReports

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Announced:
    version: str
    sha256: str = ""
    key: str = ""
    problem: str = ""


class Answered:
    def __init__(self) -> None:
        self.version = ""
        self.full = False

    def read(self) -> str:
        return self.version

    def write(self, version: str) -> None:
        if self.full:
            raise StorageError("cannot write: disk full")
        self.version = version


class Desk:
    """A node's updater, and somebody who is told."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.announced: Announced | None = None
        self.said: list[tuple[str, dict[str, str]]] = []
        self.fails: Exception | None = None
        self.tries = 0
        self.answered = Answered()
        self.again()

    def again(self) -> None:
        self.reports = DeployReports(
            announced=lambda: self.announced,
            state=lambda: self.node.book.state,
            send=self.send,
            answered=self.answered,
            clock=self.node.clock,
            random=lambda: 0.5,
        )

    def send(self, status: str, info: dict[str, str]) -> None:
        self.tries += 1
        if self.fails is not None:
            raise self.fails
        self.said.append((status, info))

    def offer(self, found: Any, version: str = "v1") -> None:
        self.node.feed.offer = found
        self.announced = Announced(version, found.manifest.model.sha256, found.key)


@pytest.fixture
def desk(node: Any) -> Desk:
    return Desk(node)


def test_completed_is_said_when_the_model_is_confirmed_and_not_before(desk: Desk, make_offer: Any) -> None:
    desk.reports.turn()
    desk.offer(make_offer(2))
    desk.reports.turn()
    desk.node.updater.update()
    desk.reports.turn()
    assert desk.said == []
    desk.node.live.see(200)
    desk.node.clock.advance(61.0)
    desk.node.updater.watch()
    desk.reports.turn()
    desk.reports.turn()
    assert desk.said == [("completed", {"version": "v1", "model": f"{2:064x}"})]
    desk.again()
    desk.reports.turn()
    assert len(desk.said) == 1, "a restart repeats nothing"


def test_a_refused_model_is_failed_with_the_reason(desk: Desk, make_offer: Any) -> None:
    desk.node.probe.problems = ("golden frame 0: helmet-on not found",)
    desk.offer(make_offer(2))
    desk.node.updater.update()
    desk.reports.turn()
    assert [status for status, _ in desk.said] == ["failed"]
    assert "helmet-on not found" in desk.said[0][1]["reason"]


def test_a_model_that_does_not_prove_itself_is_failed(desk: Desk, make_offer: Any) -> None:
    desk.offer(make_offer(2))
    desk.node.updater.update()
    desk.node.live.see(50, failures=40)
    desk.node.clock.advance(61.0)
    desk.node.updater.watch()
    desk.reports.turn()
    assert [status for status, _ in desk.said] == ["failed"]


def test_what_is_no_model_is_failed_and_what_serves_already_is_completed(desk: Desk) -> None:
    desk.announced = Announced("v1", problem="/hot/x: neither a model package nor a .tflite model (0 bytes)")
    desk.reports.turn()
    desk.announced = Announced("v2", "0" * 64)
    desk.reports.turn()
    assert [status for status, _ in desk.said] == ["failed", "completed"]


def test_a_controller_that_does_not_answer_is_asked_again_so_often_and_no_more(desk: Desk) -> None:
    desk.fails = UpdateError("nobody there")
    desk.announced = Announced("v1", "0" * 64)
    desk.reports.turn()
    desk.reports.turn()
    assert desk.tries == 1, "it waits between two tries"
    for _ in range(10_000):
        desk.node.clock.advance(10.0)
        desk.reports.turn()
    assert desk.tries == MOST_TRIES
    assert desk.reports.counts == {"sent": 0, "lost": 1}
    desk.fails = None
    desk.announced = Announced("v2", "0" * 64)
    desk.reports.turn()
    assert len(desk.said) == 1


def test_a_refusal_is_not_repeated(desk: Desk) -> None:
    desk.fails = RefusedError("400")
    desk.announced = Announced("v1", "0" * 64)
    for _ in range(10):
        desk.node.clock.advance(400.0)
        desk.reports.turn()
    assert desk.tries == 1


def test_an_answer_that_was_not_taken_is_given_after_a_restart(desk: Desk) -> None:
    desk.fails = UpdateError("nobody there")
    desk.announced = Announced("v1", "0" * 64)
    desk.reports.turn()
    desk.fails = None
    desk.again()
    desk.reports.turn()
    assert len(desk.said) == 1


def test_a_full_disk_costs_at_most_a_repetition(desk: Desk) -> None:
    desk.answered.full = True
    desk.announced = Announced("v1", "0" * 64)
    desk.reports.turn()
    desk.reports.turn()
    assert len(desk.said) == 1


def test_weights_that_were_refused_are_tried_again_when_they_are_announced_again(node: Any, make_offer: Any) -> None:

    node.probe.problems = ("no",)
    node.feed.offer = dataclasses.replace(make_offer(2), anew=True)
    node.updater.update()
    node.feed.offer = make_offer(2)
    for _ in range(5):
        node.updater.update()
    assert node.probe.runs == 1, "the same version is tried once"
    node.probe.problems = ()
    node.feed.offer = dataclasses.replace(make_offer(2, 3), anew=True)
    node.updater.update()
    assert node.probe.runs == 2
    assert node.live.serves == node.feed.offer.key


@pytest.fixture
def controller() -> Iterator[Controller]:
    found = Controller()
    yield found
    found.close()


WORKER = WorkerName("inferworker-x8k2p", "default", "helmet-detection-demo")


def test_the_report_has_sednas_form(controller: Controller) -> None:
    LocalController(controller.url, WORKER).deployed("completed", {"version": "v1"})
    (document,) = controller.taken("deploy")
    assert document == {
        "name": "inferworker-x8k2p",
        "namespace": "default",
        "ownerName": "helmet-detection-demo",
        "ownerKind": "incrementallearningjob",
        "kind": "deploy",
        "status": "completed",
        "ownerInfo": {"version": "v1"},
        "results": [],
    }


def test_faults_of_the_way_and_refusals_are_told_apart(controller: Controller) -> None:
    told = LocalController(controller.url, WORKER)
    controller.unavailable = 1
    with pytest.raises(UpdateError, match="503"):
        told.deployed("completed", {})
    controller.deaf = 1
    with pytest.raises(UpdateError):
        told.deployed("completed", {})
    with pytest.raises(RefusedError, match="404"):
        LocalController(f"{controller.url}/elsewhere", WORKER).deployed("completed", {})
    with pytest.raises(ConfigError, match="LC_SERVER"):
        LocalController("https://controller", WORKER)
    assert controller.taken("deploy") == []
