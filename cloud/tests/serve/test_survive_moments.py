# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments of a real node and its real hub, while new models and hard examples are on their way."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from nudged_model import nudged_folder
from sqlalchemy import select

from helmet_agent.adapters.model_store import ModelStore
from helmet_agent.adapters.spool import Spool
from helmet_agent.contract import Delivery, MiningRule
from helmet_agent.services.update_events import Kind
from helmet_agent.services.update_journal import replay, sum_line
from helmet_cloud.channel import open_channel
from helmet_cloud.ports import JobRef, Publication
from helmet_cloud.settings import HubHome
from helmet_cloud.store.examples import ExampleRow
from helmet_cloud.store.nodes import add_node
from helmet_cloud.store.opening import open_database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOMENTS = 200 if os.environ.get("HELMET_SOAK") else 10
pytestmark = [pytest.mark.survive, pytest.mark.slow, pytest.mark.timeout(240 + 12 * MOMENTS)]
JOB = JobRef("default", "helmet-detection-demo")
CLIP = resources.files("helmet_agent") / "assets" / "clips" / "one-by-one-person-detection.mp4"
QUOTA = 64 << 20


def publication(folder: Path, number: int, mining: MiningRule) -> Publication:
    """A model that differs from the bundled one in a few weights."""
    nudged_folder(folder, number)
    (folder / "weights.npz").write_bytes(b"weights")
    delivery = Delivery(f"{JOB.namespace}/{JOB.name}", hot_update=True, poll_seconds=1)
    return Publication(JOB, folder, mining, delivery, "stable", None, None, {}, f"number {number}")


class Site:
    """A hub and a node in two folders; both are processes that end by SIGKILL."""

    def __init__(self, folder: Path, tmp_path: Path, serve: Callable[..., Any]) -> None:
        self._tmp, self._serve, self.home = tmp_path, serve, HubHome.load(folder)
        self.database = open_database(self.home)
        token = f"hmt_{secrets.token_urlsafe(32)}"
        (tmp_path / "node.token").touch(mode=0o600)
        (tmp_path / "node.token").write_text(token)
        with self.database.write() as session:
            add_node(session, "n1", hashlib.sha256(token.encode()).hexdigest(), None, time.time())
        self.data, self.published = tmp_path / "data", 0
        self.hub = serve(folder)
        self.examples: set[str] = set()

    def publish(self) -> None:
        self.published += 1
        model = publication(
            self._tmp / f"model-{self.published}",
            self.published,
            MiningRule("IBT", {"threshold_img": "0.9", "threshold_box": "0.9"}),
        )
        open_channel(self.home, self.database).publish(model)

    def start(self) -> subprocess.Popen[bytes]:
        if self.hub.process.poll() is not None:
            self.hub = self._serve(self.home.folder)
        ca = self.home.folder / "tls" / "ca.crt"
        config = self._tmp / "agent.toml"
        config.write_text(
            f"[node]\nname='n1'\ndata_dir='{self.data}'\n[api]\nenabled=false\n[spool]\nquota='64 MiB'\n"
            f"[[sources]]\nname='gate'\nurl='{CLIP}'\nloop=true\nrealtime=true\n[mining]\nper_hour=36000\nduplicate_distance=-1\n"
            f"[hub]\nurl='{self.hub.url}'\nca_file='{ca}'\ntoken_file='{self._tmp / 'node.token'}'\n"
            f"[updates]\nenabled=true\nchannel_url='{self.hub.url}/channel/'\nca_file='{ca}'\n"
            f"root_file='{self.home.folder / 'root.json'}'\nfollow='{JOB.namespace}/{JOB.name}'\npoll_seconds=1\n"
            "probation_seconds=0\nprobation_frames=1\nmax_latency_ratio=50\n"
        )
        command = [sys.executable, "-m", "helmet_agent", "run", "--config", str(config)]
        with (self._tmp / "agent.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def downloads(self) -> int:
        """How often a download was begun."""
        lines = ModelStore(self.data / "models", read_only=True).journal()
        return sum(line.get("event") == Kind.DOWNLOADING for line in lines)

    def wait_for_an_update(self, seconds: float = 10.0) -> None:
        """Until a model is on its way, or the time is over; from then to its confirmation it takes two seconds."""
        before, deadline = self.downloads(), time.monotonic() + seconds
        while self.downloads() == before and time.monotonic() < deadline:
            time.sleep(0.02)

    def check(self) -> Any:
        """What holds after every kill; returns the updater's state."""
        store = ModelStore(self.data / "models", read_only=True)
        lines = list(store.journal())
        state = replay(lines[:1])
        if state is None:
            return None
        confirmed = {model.key for model in state.history}
        # Every moment since the start, not only the one of this kill.
        for line in lines[1:]:
            before, state = state, replay((sum_line(state), line))
            assert state is not None
            if line.get("event") == Kind.CONFIRMED:
                confirmed.add(before.current.key)
            assert state.last_confirmed.key in confirmed, "the way back was never confirmed"
        assert store.damage(state.current.key) is None, "an unverified model is current"
        assert store.damage(state.last_confirmed.key) is None
        for key in store.pointers():
            assert key is None or store.damage(key) is None, "a pointer leads to an unverified model"
        if (self.data / "spool").is_dir():
            spool = Spool(self.data / "spool", QUOTA)
            self.examples |= {path.stem for path in (self.data / "spool").glob("??/*.jpg")}
            waiting = spool.pending(100_000)
            assert all(spool.open(sha256) is not None for sha256 in waiting)
            self.waiting = len(waiting)
            spool.close()
        return state

    def at_the_hub(self) -> list[str]:
        with self.database.read() as session:
            return list(session.scalars(select(ExampleRow.sha256)))


def test_random_kills_of_node_and_hub_lose_nothing(
    folder: Path, tmp_path: Path, serve: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(6)  # noqa: S311 - moments to kill at, no secret
    site = Site(folder, tmp_path, serve)
    for moment in range(MOMENTS):
        if moment % 3 == 0:
            site.publish()
        agent = site.start()
        if moment % 3 == 0:
            site.wait_for_an_update()
        time.sleep(chance.uniform(0.0, 2.0 if moment % 3 == 0 else 6.0))
        if moment % 4 == 3:
            site.hub.process.kill()
            site.hub.process.wait()
            time.sleep(chance.uniform(0.0, 0.5))
        agent.kill()
        assert agent.wait() == -signal.SIGKILL, (tmp_path / "agent.log").read_text()[-3000:]
        site.check()
    site.publish()
    agent = site.start()
    deadline = time.monotonic() + 150.0
    store = ModelStore(site.data / "models", read_only=True)
    while time.monotonic() < deadline:
        state = replay(store.journal())
        if state is not None and state.last_confirmed.release == site.published and len(site.at_the_hub()) > 3:
            break
        time.sleep(0.5)
    time.sleep(2.0)
    agent.terminate()
    assert agent.wait(20) == 0, (tmp_path / "agent.log").read_text()[-3000:]
    state = site.check()
    assert state.current.release == site.published, (tmp_path / "agent.log").read_text()[-3000:]
    spool = Spool(site.data / "spool", QUOTA)
    waiting = set(spool.pending(100_000))
    spool.close()
    there = site.at_the_hub()
    assert len(there) == len(set(there))
    assert site.examples - waiting <= set(there), "a kept example is neither on the node nor at the hub"
    site.database.close()
    record_property(
        "survive",
        f"item 1: {MOMENTS} random kills, {site.published} live models, {len(site.examples)} examples: 0 lost, 0 twice",
    )
