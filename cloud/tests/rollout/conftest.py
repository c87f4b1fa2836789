# SPDX-License-Identifier: Apache-2.0
"""A fleet of simulated nodes before a hub with a real channel, a real database and the real routes for reports."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient

from helmet_agent.contract import (
    Delivery,
    FileReference,
    GoldenBox,
    GoldenFrame,
    InputSpec,
    MiningRule,
    ModelManifest,
    OutputSpec,
    Thresholds,
)
from helmet_agent.testing import ManualClock
from helmet_cloud.api.auth import Auth
from helmet_cloud.api.nodes import nodes_router
from helmet_cloud.api.problem import install_problems
from helmet_cloud.channel import open_channel
from helmet_cloud.controller.rollouts import Rollouts
from helmet_cloud.ports import JobRef, Publication
from helmet_cloud.resources.admission import admit
from helmet_cloud.resources.kinds import SEDNA_KINDS
from helmet_cloud.setup import InitOptions, initialise
from helmet_cloud.store.nodes import add_node
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.resources import ResourceStore
from helmet_cloud.store.rollouts import last_rollout, rollout_steps
from helmet_cloud.store.tokens import token_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from helmet_cloud.ports import Published

SEED = Path(__file__).parents[3] / "demo" / "seed" / "job.yaml"
JOB = JobRef("default", "helmet-detection-demo")
NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z
PROBATION_SECONDS, POLL_SECONDS, REPORT_SECONDS = 20.0, 30.0, 30.0


def job_document() -> dict[str, Any]:
    """The seed's job."""
    text = SEED.read_text().replace("$WORKER_NODE", "hub").replace("$IMAGE", "image")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def make_model(folder: Path, text: str) -> Path:
    """A model folder whose file only pretends to be a network."""
    folder.mkdir(parents=True)
    content = f"TFL3 {text}".encode().ljust(3000, b".")
    (folder / "model.tflite").write_bytes(content)
    (folder / "weights.npz").write_bytes(b"weights")
    seen = f"JPEG {text}".encode()
    (folder / "golden_a.jpg").write_bytes(seen)
    picture = FileReference("golden_a.jpg", hashlib.sha256(seen).hexdigest(), len(seen))
    manifest = ModelManifest(
        name=f"model-{text}",
        release=0,
        model=FileReference("model.tflite", hashlib.sha256(content).hexdigest(), len(content)),
        input=InputSpec(352, 640),
        outputs=OutputSpec(),
        labels=("helmet-on", "helmet-off"),
        thresholds=Thresholds({"helmet-on": 0.3, "helmet-off": 0.3}),
        mining=MiningRule("IBT", {}),
        golden=(GoldenFrame(picture, (GoldenBox("helmet-off", (1.0, 2.0, 3.0, 4.0)),)),),
    )
    (folder / "manifest.json").write_bytes(manifest.to_bytes())
    return folder


@dataclass
class SimulatedNode:
    """Polls, takes, proves and reports as an agent does.

    Attributes:
        name: its name.
        ring: which ring it follows.
        token: opens its reports.
        next_poll, next_report: Unix time.
        model, release: what it runs.
        since: when it took that; None: it is confirmed.
        before: what it ran before.
        refused: digests it will not try again.
        exposed: digests that ever served here.
    """

    name: str
    ring: str
    token: str
    next_poll: float
    next_report: float
    model: str
    release: int = 0
    since: float | None = None
    before: tuple[str, int] = ("", 0)
    refused: dict[str, str] = field(default_factory=dict)
    exposed: set[str] = field(default_factory=set)
    ill: str = ""
    dead: bool = False

    def report(self, now: float) -> dict[str, Any]:
        """Its report as JSON."""
        return {
            "schema": 1,
            "node": self.name,
            "version": "0.1.0",
            "sent_seconds": now,
            "job": str(JOB),
            "ring": self.ring,
            "model": self.model,
            "release": self.release,
            "state": "confirmed" if self.since is None else "probation",
            "healthy": not self.ill,
            "problems": [self.ill] if self.ill else [],
            "rates": {},
            "quarantined": [{"sha256": sha256, "reason": reason} for sha256, reason in self.refused.items()],
        }


class Fleet:
    """A hub and its nodes; ``run`` lets time pass for all of them, second by second.

    Args:
        folder: for the hub.
        nodes: how many there are.
        canaries: how many of them are in the canary ring.
        canary_share: the hub's setting; None: whatever lets this fleet have its canaries.
        options: of the job, without ``helmet.edge/``.
    """

    def __init__(
        self, folder: Path, nodes: int, canaries: int, canary_share: float | None = None, **options: str
    ) -> None:
        self.folder = folder
        self.clock = ManualClock(NOON)
        home = initialise(folder / "hub", InitOptions("127.0.0.1:0"), self.clock.now).home
        share = canaries / nodes if canary_share is None else canary_share
        self.home = replace(home, settings=replace(home.settings, canary_share=share))
        self.database = open_database(self.home)
        self.channel = open_channel(self.home, self.database, self.clock.now)
        self.resources = ResourceStore(self.database, self.clock.now)
        kind = next(kind for kind in SEDNA_KINDS if kind.name == "IncrementalLearningJob")
        document = job_document()
        document["metadata"]["annotations"] = {f"helmet.edge/{key.replace('_', '-')}": v for key, v in options.items()}
        self.resources.create(admit(kind, document).document)
        self.reached: Callable[[str], None] = lambda _point: None
        self.restart()
        app = FastAPI()
        install_problems(app)
        self.auth = Auth(self.database)
        app.include_router(nodes_router(self.database, self.auth, self.clock.now))
        self.client = TestClient(app)
        chance = random.Random(7)  # noqa: S311 - moments, no secret
        self.first = self.publish("good", "stable")
        self.publish("good", "canary")
        self.nodes = []
        for number in range(nodes):
            name, ring = f"site-{number}", "canary" if number < canaries else "stable"
            token = "hmt_" + hashlib.sha256(name.encode()).hexdigest()[:43]
            with self.database.write() as session:
                add_node(session, name, token_digest(token), ring, self.clock.now())
            polls, reports = (NOON + chance.uniform(0.0, 30.0) for _ in range(2))
            self.nodes.append(SimulatedNode(name, ring, token, polls, reports, self.first.sha256))
        self.bad: dict[str, Callable[[SimulatedNode], None]] = {}

    def restart(self) -> None:
        """The hub's rollouts in a new process."""
        self.rollouts = Rollouts(
            self.home.settings,
            self.database,
            self.resources,
            self.channel,
            self.clock,
            reached=lambda point: self.reached(point),  # noqa: PLW0108 - a test may set it later
        )

    def annotate(self, **options: str) -> None:
        """Changes the job's annotations."""

        def edit(document: dict[str, Any]) -> dict[str, Any]:
            document["metadata"]["annotations"] |= {f"helmet.edge/{k.replace('_', '-')}": v for k, v in options.items()}
            return document

        self.resources.update("IncrementalLearningJob", JOB.namespace, JOB.name, edit)

    def publish(self, text: str, ring: str = "canary") -> Published:
        """Publishes a model of that text."""
        folder = self.folder / f"model-{text}"
        if not folder.exists():
            make_model(folder, text)
        delivery = Delivery(poll_seconds=30)
        return self.channel.publish(
            Publication(JOB, folder, MiningRule("IBT", {}), delivery, ring, None, None, {}, f"because of {text}")
        )

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
        """Lets so much time pass, or until something is so; the seconds that passed."""
        begin, live = self.clock.now(), self._live()
        while self.clock.now() - begin < seconds and not until():
            self.clock.advance(1.0)
            now = self.clock.now()
            for node in self.nodes:
                self._turn(node, live[node.ring], now)
            if int(now) % 5 == 0:
                self.rollouts.tick()
                live = self._live()
        return self.clock.now() - begin

    def _live(self) -> dict[str, Published | None]:
        return {ring: self.channel.live(JOB, ring) for ring in ("canary", "stable")}

    def _turn(self, node: SimulatedNode, live: Published | None, now: float) -> None:
        if node.dead:
            return
        changed = False
        if now >= node.next_poll:
            node.next_poll = now + POLL_SECONDS
            if live is not None and live.release > node.release and live.sha256 not in node.refused:
                if live.sha256 != node.model:
                    node.before, node.since = (node.model, node.release), now
                    node.exposed.add(live.sha256)
                node.model, node.release, changed = live.sha256, live.release, True
        if node.since is not None and now - node.since > PROBATION_SECONDS:
            node.since, changed = None, True
            self.bad.get(node.model, lambda _node: None)(node)
        if changed or now >= node.next_report:
            node.next_report = now + REPORT_SECONDS
            answer = self.client.post(
                f"/v1/nodes/{node.name}/report",
                json=node.report(now),
                headers={"Authorization": f"Bearer {node.token}"},
            )
            assert answer.status_code == 204, answer.text

    @property
    def phase(self) -> str:
        """Of the newest rollout."""
        with self.database.read() as session:
            row = last_rollout(session, JOB)
        return "" if row is None else row.phase

    def steps(self) -> list[tuple[int, str, str]]:
        """Release, phase and reason of every step, oldest first."""
        with self.database.read() as session:
            return [(row.release, row.phase, row.reason) for row in reversed(rollout_steps(session, JOB))]

    def exposed(self, sha256: str) -> int:
        """How many nodes a model ever served on."""
        return sum(sha256 in node.exposed for node in self.nodes)

    def close(self) -> None:
        """Lets go of everything."""
        self.client.close()
        self.auth.close()
        self.database.close()


@pytest.fixture(name="make_fleet")
def _make_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    made: list[Fleet] = []

    def make(nodes: int = 50, canaries: int = 2, canary_share: float | None = None, **options: str) -> Fleet:
        made.append(Fleet(tmp_path / f"fleet-{len(made)}", nodes, canaries, canary_share, **options))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()
