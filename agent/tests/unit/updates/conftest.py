# SPDX-License-Identifier: Apache-2.0
"""A node's updater over fakes of its ports: every fault of the surroundings and of a model can be played."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.contract import Delivery, FileReference, ModelManifest
from helmet_agent.errors import StorageError
from helmet_agent.ports import ModelOffer, ModelRequest, ProbeReport
from helmet_agent.services.live_model import UpdateRules
from helmet_agent.services.probation import Opinion, Vitals
from helmet_agent.services.update_book import UpdateBook
from helmet_agent.services.update_events import ModelRef
from helmet_agent.services.update_loop import UpdateLoop
from helmet_agent.services.updater import Updater
from helmet_agent.testing import ManualClock, example_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

JOB = "default/job"


def offer(number: int, release: int | None = None, *, hot: bool = True, poll_seconds: int = 60) -> ModelOffer:
    """The offer of a model that does not exist; equal numbers are equal weights."""
    manifest = example_manifest(
        release=number if release is None else release,
        model=FileReference("model.tflite", f"{number:064x}", 10),
        delivery=Delivery(JOB, hot_update=hot, poll_seconds=poll_seconds),
    )
    content = manifest.to_bytes()
    return ModelOffer(hashlib.sha256(content).hexdigest(), manifest, content)


class Feed:
    """Offers what the test says, or fails as it says."""

    def __init__(self) -> None:
        self.offer: ModelOffer | None = None
        self.check_fails: Exception | None = None
        self.fetch_fails: Exception | None = None
        self.checks = self.fetches = 0
        self.cancelled = False

    def check(self) -> ModelOffer | None:
        self.checks += 1
        if self.check_fails is not None:
            raise self.check_fails
        return self.offer

    def fetch(self, wanted: FileReference, into: Path) -> None:
        assert into.name == wanted.sha256
        self.fetches += 1
        if self.fetch_fails is not None:
            raise self.fetch_fails

    def cancel(self) -> None:
        self.cancelled = True


class Shelf:
    """A folder of models in memory.

    Attributes:
        lines: the journal.
        installs: keys of what is there.
        room_for: lines that the journal still takes before the disk is full; None: any number.
        install_fails: raised while it is set.
        damaged: keys of what is there and broken.
    """

    def __init__(self) -> None:
        self.lines: list[Mapping[str, Any]] = []
        self.pointers = ("", "")
        self.installs: set[str] = set()
        self.damaged: set[str] = set()
        self.room_for: int | None = None
        self.install_fails: Exception | None = None
        self.asked: list[ModelRequest] = []
        self.answers: list[tuple[str, str, bool]] = []

    def journal(self) -> Sequence[Mapping[str, Any]]:
        return list(self.lines)

    def append(self, line: Mapping[str, Any]) -> None:
        if self.room_for is not None:
            if self.room_for == 0:
                raise StorageError("cannot write /models: disk full; free some space")
            self.room_for -= 1
        self.lines.append(line)

    def rewrite(self, line: Mapping[str, Any]) -> None:
        self.lines = [line]

    def point(self, current: str, last_confirmed: str) -> None:
        self.pointers = (current, last_confirmed)

    def folder(self, key: str) -> Path:
        return Path("/models") / key

    def damage(self, key: str) -> str | None:
        return None if key in self.installs - self.damaged else "missing or damaged"

    def download(self, wanted: FileReference) -> Path:
        return Path("/downloads") / wanted.sha256

    def find(self, wanted: FileReference) -> Path | None:
        del wanted
        return None

    def install(self, content: bytes, manifest: ModelManifest, files: Mapping[str, Path]) -> Path:
        assert set(files) == {manifest.model.name}
        if self.install_fails is not None:
            raise self.install_fails
        key = hashlib.sha256(content).hexdigest()
        self.installs.add(key)
        self.damaged.discard(key)
        return self.folder(key)

    def clean(self, keep: Collection[str]) -> None:
        self.installs &= set(keep)

    def requests(self) -> Sequence[ModelRequest]:
        return list(self.asked)

    def answer(self, request: ModelRequest, text: str, *, done: bool) -> None:
        self.asked.remove(request)
        self.answers.append((request.action, text, done))

    def kinds(self) -> list[str]:
        return [str(line["event"]) for line in self.lines if "event" in line]


class Probe:
    """Says what the test says."""

    def __init__(self) -> None:
        self.problems: tuple[str, ...] = ()
        self.fails: Exception | None = None
        self.runs = 0

    def run(self, candidate: Path, current: Path) -> ProbeReport:
        assert candidate != current
        self.runs += 1
        if self.fails is not None:
            raise self.fails
        return ProbeReport(self.problems)

    def cancel(self) -> None:
        pass


class Live:
    """A slot, and a pipeline whose totals the test moves on.

    Attributes:
        serves: key of the model that serves.
        total: the pipeline's totals.
        opinion_of_old: what the model before makes of the latest frame.
        golden: what is wrong with the golden frames.
        load_fails: by key.
    """

    def __init__(self, serves: str) -> None:
        self.serves = serves
        self.ready: str | None = None
        self.before: str | None = None
        self.total = Vitals()
        self.opinion_of_old: Opinion | None = None
        self.golden: tuple[str, ...] = ()
        self.load_fails: dict[str, Exception] = {}

    def load(self, folder: Path) -> None:
        if folder.name in self.load_fails:
            raise self.load_fails[folder.name]
        self.ready = folder.name

    def swap(self) -> None:
        assert self.ready is not None
        self.before, self.serves, self.ready = self.serves, self.ready, None

    def keep(self, folder: Path) -> None:
        self.before = self.before or folder.name

    def back(self) -> bool:
        if self.before is None:
            return False
        self.serves, self.before = self.before, None
        return True

    def settle(self) -> None:
        self.before = None

    def vitals(self) -> Vitals:
        return self.total

    def opinion(self) -> Opinion | None:
        return self.opinion_of_old if self.before is not None else None

    def golden_problems(self) -> Sequence[str]:
        return self.golden

    def see(self, frames: int, *, failures: int = 0, detections: int | None = None, seconds: float = 0.01) -> None:
        """The pipeline looks at frames."""
        now = self.total
        self.total = Vitals(
            now.frames + frames,
            now.failures + failures,
            now.detections + (frames if detections is None else detections),
            now.inference_seconds + frames * seconds,
        )


class Node:
    """One life of a node; ``again`` begins the next one on the same disk."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()
        self.clock, self.feed, self.probe = ManualClock(), Feed(), Probe()
        base = offer(1)
        self.base = ModelRef(base.key, base.manifest.model.sha256, 1, name="fake")
        self.shelf.installs.add(base.key)
        self.book = UpdateBook(self.shelf, self.base, self.clock)
        self.book.begin()
        self.live = Live(self.book.state.current.key)
        self.updater = Updater(
            feed=self.feed,
            shelf=self.shelf,
            book=self.book,
            probe=self.probe,
            live=self.live,
            clock=self.clock,
            rules=UpdateRules(JOB, probation_seconds=60.0, probation_frames=100, max_latency_ratio=1.5),
        )
        self.bundle = Feed()
        self.poll_seconds = 60.0
        self.loop = UpdateLoop(
            updater=self.updater,
            feed=self.feed,
            probe=self.probe,
            shelf=self.shelf,
            open_bundle=lambda _name: self.bundle,
            clock=self.clock,
            random=lambda: 0.5,
            poll_seconds=lambda: self.poll_seconds,
            job=JOB,
            ring="stable",
        )

    def again(self) -> Node:
        return Node(self.shelf)

    def confirm(self, number: int, release: int | None = None) -> ModelOffer:
        """Takes a model all the way."""
        found = self.feed.offer = offer(number, release)
        self.updater.update()
        self.live.see(200)
        self.clock.advance(61.0)
        self.updater.watch()
        assert self.book.state.last_confirmed.key == found.key
        return found


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def make_offer() -> Any:
    return offer
