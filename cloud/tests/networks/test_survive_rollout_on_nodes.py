# SPDX-License-Identifier: Apache-2.0
"""A rollout with nothing simulated: real agents before a served hub, one in each ring, a good and a bad model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.contract import Delivery, FileReference, ModelManifest
from helmet_cloud.channel import open_channel
from helmet_cloud.cli import app
from helmet_cloud.ports import JobRef, Publication, Published
from helmet_cloud.resources.admission import admit
from helmet_cloud.resources.kinds import SEDNA_KINDS
from helmet_cloud.store.nodes import add_node, list_nodes
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.resources import ResourceStore
from helmet_cloud.store.rollouts import last_rollout
from helmet_cloud.store.tokens import token_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.survive, pytest.mark.slow, pytest.mark.timeout(300)]
JOB = JobRef("default", "helmet-detection-demo")
SEED = Path(__file__).parents[3] / "demo" / "seed" / "job.yaml"
CLIP = resources.files("helmet_agent") / "assets" / "clips" / "one-by-one-person-detection.mp4"
INT8 = (bundled_model_dir() / "model.tflite").read_bytes()
AUTO = {"rollout": "auto", "rollout-reports": "2", "rollout-minutes": "0.05"}
PATIENCE_SECONDS = 90.0


class Fleet:
    """A served hub whose job asks for rollouts, and agents that follow it."""

    def __init__(self, hub: Any, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.database = open_database(hub.home)
        self.channel = open_channel(hub.home, self.database)
        self.agents: list[subprocess.Popen[bytes]] = []
        kind = next(kind for kind in SEDNA_KINDS if kind.name == "IncrementalLearningJob")
        document = yaml.safe_load(SEED.read_text().replace("$WORKER_NODE", "hub").replace("$IMAGE", "image"))
        document["metadata"]["annotations"] = {f"helmet.edge/{name}": value for name, value in AUTO.items()}
        ResourceStore(self.database, time.time).create(admit(kind, document).document)

    def publish(self, name: str, content: bytes) -> Published:
        """Gives the canary ring the bundled model with other bytes in its file."""
        folder = self.folder / name
        shutil.copytree(bundled_model_dir(), folder)
        (folder / "model.tflite").write_bytes(content)
        (folder / "weights.npz").write_bytes(b"weights")
        manifest = ModelManifest.from_bytes((folder / "manifest.json").read_bytes())
        file = FileReference("model.tflite", hashlib.sha256(content).hexdigest(), len(content))
        (folder / "manifest.json").write_bytes(dataclasses.replace(manifest, name=name, model=file).to_bytes())
        delivery = Delivery(str(JOB), hot_update=True, poll_seconds=1)
        return self.channel.publish(
            Publication(JOB, folder, manifest.mining, delivery, "canary", None, None, {}, f"because of {name}")
        )

    def start(self, name: str, ring: str, channel: str) -> None:
        """Enrols a node and starts its agent."""
        token, home = "hmt_" + name[-1] * 43, self.hub.home
        with self.database.write() as session:
            add_node(session, name, token_digest(token), ring, time.time())
        (self.folder / f"{name}.token").touch(mode=0o600)
        (self.folder / f"{name}.token").write_text(token)
        config = self.folder / f"{name}.toml"
        config.write_text(
            f"[node]\nname='{name}'\ndata_dir='{self.folder / name}'\n[api]\nenabled=false\n[mining]\nenabled=false\n"
            f"[[sources]]\nname='gate'\nurl='{CLIP}'\nloop=true\nrealtime=true\nmax_fps=5\n"
            f"[hub]\nurl='{self.hub.url}'\nca_file='{home.tls / 'ca.crt'}'\ntoken_file='{self.folder / name}.token'\n"
            f"report_seconds=5\n[updates]\nenabled=true\nchannel_url='{channel}/channel/'\n"
            f"ca_file='{home.tls / 'ca.crt'}'\nroot_file='{home.folder / 'root.json'}'\nfollow='{JOB}'\n"
            f"ring='{ring}'\npoll_seconds=1\nprobation_seconds=1\nprobation_frames=5\nmax_latency_ratio=50\n"
        )
        command = [sys.executable, "-m", "helmet_agent", "run", "--config", str(config)]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.agents.append(subprocess.Popen(command, stdout=log, stderr=log))

    def wait(self, what: str, until: Callable[[], bool]) -> None:
        """Until something is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until():
            assert time.monotonic() < deadline, f"{what}: {self.history()}\n{self.said()}"
            time.sleep(0.2)

    def reports(self, name: str) -> Any:
        """What a node said last."""
        with self.database.read() as session:
            return next(row.report for row in list_nodes(session) if row.name == name) or {}

    def runs(self, name: str, model: Published) -> bool:
        """Whether the hub heard that a node runs a model for good."""
        last = self.reports(name)
        return (last.get("model"), last.get("release"), last.get("state")) == (model.sha256, model.release, "confirmed")

    def phase(self, release: int) -> str:
        """Of a release's rollout."""
        with self.database.read() as session:
            row = last_rollout(session, JOB)
        return row.phase if row is not None and row.release == release else ""

    def live(self, ring: str) -> Published:
        """What a ring has."""
        found = self.channel.live(JOB, ring)
        assert found is not None
        return found

    def history(self) -> Any:
        """What ``helmet-cloud models history`` prints."""
        return json.loads(self._cli("models", "history", "--json"))

    def listed(self, name: str) -> Any:
        """A node as ``helmet-cloud nodes list`` prints it."""
        return next(one for one in json.loads(self._cli("nodes", "list", "--json"))["nodes"] if one["name"] == name)

    def _cli(self, *words: str) -> str:
        return CliRunner().invoke(app, [*words, "--data-dir", str(self.hub.home.folder)]).output

    def said(self) -> str:
        """The ends of the agents' logs."""
        return "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        """Ends the agents."""
        for agent in self.agents:
            agent.kill()
            agent.wait()
        self.database.close()


@pytest.fixture
def fleet(hub: Any, tmp_path: Path) -> Iterator[Fleet]:
    found = Fleet(hub, tmp_path)
    yield found
    found.close()


def test_a_good_model_goes_from_the_canary_to_everybody_and_a_bad_one_no_further_than_the_canary(
    fleet: Fleet, hub: Any, record_property: Callable[[str, object], None]
) -> None:
    first = fleet.live("stable")
    fleet.start("site-c", "canary", hub.url)
    fleet.start("site-s", "stable", hub.proxy.url)  # the proxy notes all that this node asks for
    fleet.wait("both are heard", lambda: all(fleet.reports(name) for name in ("site-c", "site-s")))

    # What follows the network in the file is never read: other bytes, the same answers.
    good = fleet.publish("good", INT8 + bytes(16))
    fleet.wait("the canary runs it", lambda: fleet.runs("site-c", good))
    assert fleet.live("stable").sha256 == first.sha256
    assert hub.proxy.paths(good.sha256) == []
    fleet.wait("promoted", lambda: fleet.live("stable").sha256 == good.sha256)
    promoted = fleet.live("stable")
    fleet.wait("everybody runs it", lambda: fleet.runs("site-s", promoted))
    fleet.wait("done", lambda: fleet.phase(good.release) == "done")

    published = time.monotonic()
    bad = fleet.publish("bad", INT8[:500_000])
    fleet.wait("halted", lambda: fleet.phase(bad.release) == "halted")
    took = time.monotonic() - published
    assert (fleet.live("canary").sha256, fleet.live("stable")) == (good.sha256, promoted)
    (refused,) = fleet.listed("site-c")["quarantined"]
    assert refused["sha256"] == bad.sha256
    assert "no LiteRT model" in refused["reason"]
    steps = [row for row in reversed(fleet.history()) if row["ring"] == "rollout"]
    assert [(row["release"], row["state"]) for row in steps] == [
        *((good.release, phase) for phase in ("canary", "promoting", "stable", "done")),
        *((bad.release, phase) for phase in ("canary", "reverting", "halted")),
    ]
    assert refused["reason"] in steps[-1]["reason"]
    told = [int(one[1]) for row in steps if (one := re.match(r"(\d+) healthy reports of ring", row["reason"]))]
    assert len(told) == 2
    assert min(told) >= int(AUTO["rollout-reports"]), "it went on before enough nodes were well with it"
    fleet.wait("the canary has what it had", lambda: fleet.runs("site-c", fleet.live("canary")))
    assert fleet.listed("site-s")["model"] == good.sha256
    assert fleet.listed("site-s")["quarantined"] == []
    assert sum(one.sent for one in hub.proxy.paths(good.sha256)) == len(INT8) + 16
    assert hub.proxy.paths(bad.sha256) == []
    record_property(
        "survive",
        f"item 4: two real agents: a good model came from the canary to the stable one, a bad one was refused by the "
        f"canary, told with its reason and halted {took:.0f} s after the publication; no byte of it on the stable one",
    )
