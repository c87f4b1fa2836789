# SPDX-License-Identifier: Apache-2.0
"""A whole hub but for its workers and its channel: real database, real resources, real data set files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

from helmet_agent.testing import ManualClock
from helmet_cloud.controller import JobController
from helmet_cloud.resources.admission import admit
from helmet_cloud.resources.kinds import SEDNA_KINDS
from helmet_cloud.settings import HubHome, HubSettings
from helmet_cloud.store.examples import ExampleRow
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.resources import ResourceStore
from helmet_cloud.store.rounds import JobRow, rounds_of
from helmet_cloud.store.samples import samples_of
from helmet_cloud.testing import MemoryChannel, ScriptedRunner, figures, well_behaved, write_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from helmet_cloud.ports import WorkerSpec
    from helmet_cloud.store.database import Database
    from helmet_cloud.store.rounds import RoundRow
    from helmet_cloud.testing import Act

SEED = Path(__file__).parents[3] / "demo" / "seed"
KINDS = {kind.name: kind for kind in SEDNA_KINDS}
JOB = "helmet-detection-demo"
NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z
OLD = figures((0.6, 0.6, 0.6, 0.6), (0.5, 0.5, 0.5, 0.5))
BETTER = figures((0.8, 0.8, 0.8, 0.8), (0.7, 0.7, 0.7, 0.7))
WORSE = figures((0.5, 0.5, 0.5, 0.5), (0.4, 0.4, 0.4, 0.4))


def seed(name: str) -> dict[str, Any]:
    """A manifest of the seed, as its shell would send it."""
    text = (SEED / f"{name}.yaml").read_text().replace("$WORKER_NODE", "hub").replace("$IMAGE", "image")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def picture(number: int) -> bytes:
    """A small picture unlike all others."""
    seed = int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:8], "big")
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


@dataclass
class Rig:
    """The hub and what a test wants to do with it."""

    home: HubHome
    database: Database
    resources: ResourceStore
    clock: ManualClock
    runner: ScriptedRunner
    channel: MemoryChannel
    reached: Callable[[str], None] = field(default=lambda _point: None)
    controller: JobController = field(init=False)
    tokens: int = 0
    prefix: str = "t"

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process on the same disk; workers end, reports stay."""
        self.runner = ScriptedRunner(self.database, self.runner.script)
        self.controller = JobController(
            self.home,
            self.database,
            self.resources,
            self.runner,
            self.channel,
            self.clock,
            token=self._token,
            reached=lambda point: self.reached(point),  # noqa: PLW0108 - a test may set it later
        )

    def _token(self) -> str:
        self.tokens += 1
        return f"{self.prefix}{self.tokens}"

    def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        """Creates a resource as the API does."""
        return self.resources.create(admit(KINDS[document["kind"]], document).document)

    def change(self, change: Callable[[dict[str, Any]], None], name: str = JOB) -> None:
        """Edits the job in place."""

        def edit(document: dict[str, Any]) -> dict[str, Any]:
            change(document)
            return document

        self.resources.update("IncrementalLearningJob", "default", name, edit)

    def annotate(self, **values: str) -> None:
        def edit(document: dict[str, Any]) -> None:
            found = document["metadata"].setdefault("annotations", {})
            found |= {f"helmet.edge/{key.replace('_', '-')}": value for key, value in values.items()}

        self.change(edit)

    @property
    def file(self) -> Path:
        return self.home.mapped("/data/helmet_detection/train_data/train_data.txt")

    def add(self, numbers: Iterable[int], labels: str = "1,1,20,20,2") -> None:
        """Adds labelled pictures to the Dataset; each is of a time of its own."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for number in numbers:
            name = f"frame_{number * 50:07d}.png"
            (self.file.parent / name).write_bytes(picture(number))
            lines.append(f"{name} {labels}\n")
        with self.file.open("a") as stream:
            stream.writelines(lines)

    @staticmethod
    def picture(number: int) -> bytes:
        return picture(number)

    def take(self, number: int, second: float) -> None:
        """A picture arrives as an example of one camera, so many seconds after noon."""
        sha256 = hashlib.sha256(picture(number)).hexdigest()
        named = {"node": "node-1", "source": "gate", "frame": 0, "model": "0" * 64, "rule": "IBT", "state": "labelled"}
        sizes = {"width": 32, "height": 24, "value": 1.0, "size_bytes": 100, "detections": []}
        times = {"time_seconds": NOON + second, "received_seconds": NOON + second}
        with self.database.write() as session:
            session.add(ExampleRow(sha256=sha256, **named, **sizes, **times))

    def tick(self, times: int = 1, seconds: float = 61.0) -> None:
        for _ in range(times):
            self.clock.advance(seconds)
            self.controller.tick()

    def play(self, ticks: int = 16) -> None:
        """Ticks by the second until nothing moves."""
        self.clock.advance(61.0)
        for _ in range(ticks):
            self.controller.tick()
            self.clock.advance(1.0)

    def job(self) -> dict[str, Any]:
        return self.resources.get("IncrementalLearningJob", "default", JOB)

    def condition(self, kind: str) -> dict[str, Any]:
        found = [one for one in self.job()["status"]["conditions"] if one["type"] == kind]
        return found[0] if kind in {"ModelDeployed", "RoundFailed"} else found[-1]

    @property
    def message(self) -> str:
        """What the job's present condition says."""
        return str(self.job()["status"]["conditions"][-1]["message"])

    @property
    def stages(self) -> list[str]:
        """Sedna's history."""
        conditions = self.job()["status"]["conditions"][2:]
        return [f"{one['stage']}/{one['type']}" for one in conditions]

    def events(self, reason: str) -> list[str]:
        return [one["message"] for one in self.resources.list("Event") if one["reason"] == reason]

    @property
    def rounds(self) -> list[RoundRow]:
        with self.database.read() as session:
            uids = [row.uid for row in session.query(JobRow).order_by(JobRow.created_seconds)]
            return [row for uid in uids for row in rounds_of(session, uid)]

    def samples(self) -> dict[str, tuple[str, int | None, int | None]]:
        """By sha256: side, round that tried it, round that used it up."""
        with self.database.read() as session:
            found = samples_of(session, self.job()["metadata"]["uid"])
        return {sha256: (row.side, row.tried_round, row.used_round) for sha256, row in found.items()}

    def pending(self) -> int:
        return sum(side == "train" and used is None for side, _, used in self.samples().values())


def make_rig(folder: Path, script: Callable[[WorkerSpec], Iterable[Act]] | None = None, **settings: Any) -> Rig:
    regression = folder / "regression" / "data.txt"
    regression.parent.mkdir(exist_ok=True)
    (regression.parent / "guard.png").write_bytes(picture(-1))
    regression.write_text("guard.png 1,1,20,20,3\n")
    (folder / "hub").mkdir(exist_ok=True)
    home = HubHome(folder / "hub", HubSettings(rootfs=folder / "root", regression_set=regression, **settings))
    for slot in ("models/base_model", "models/deploy_model"):
        write_model(folder / "root" / slot, b"the first model")
    database = open_database(home)
    clock = ManualClock(NOON)
    runner = ScriptedRunner(database, script or well_behaved(lambda _: BETTER, lambda _: OLD))
    return Rig(home, database, ResourceStore(database, clock.now), clock, runner, MemoryChannel())


def small_job(threshold: int = 7, prob: float = 0.8) -> dict[str, Any]:
    """The seed's job with a trigger that a small test can meet."""
    document = seed("job")
    document["spec"]["trainSpec"]["trigger"] = {
        "checkPeriodSeconds": 60,
        "condition": {"operator": ">", "threshold": threshold, "metric": "num_of_samples"},
    }
    document["spec"]["dataset"]["trainProb"] = prob
    return document


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A hub with the seed's Dataset and Models and a job that wants more than seven samples."""
    made = make_rig(tmp_path)
    for name in ("dataset", "initial-model", "deploy-model"):
        made.apply(seed(name))
    made.apply(small_job())
    yield made
    made.database.close()


def loaded(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture
def hub_folder() -> Iterator[Callable[[Path], tuple[Path, Rig]]]:
    """Makes a folder for hub_to_kill.py, with twenty samples and the seed's resources in it."""
    made: list[Rig] = []

    def make(folder: Path) -> tuple[Path, Rig]:
        folder.mkdir(exist_ok=True)
        hub = make_rig(folder)
        made.append(hub)
        for name in ("dataset", "initial-model", "deploy-model"):
            hub.apply(seed(name))
        hub.apply(small_job())
        hub.add(range(20))
        return folder, hub

    yield make
    for hub in made:
        hub.database.close()


@pytest.fixture
def seed_rig() -> Callable[[Path], Rig]:
    """Makes a hub with the seed's four manifests as they are."""

    def make(folder: Path) -> Rig:
        made = make_rig(folder)
        for name in ("dataset", "initial-model", "deploy-model", "job"):
            made.apply(seed(name))
        return made

    return make
