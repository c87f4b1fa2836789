# SPDX-License-Identifier: Apache-2.0
"""The composed agent over the real bundled model, seen through its health, status and metrics."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from prometheus_client import generate_latest

from helmet_agent.adapters.hub_http.token import make_token
from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.api.preview import PreviewRefusedError
from helmet_agent.app.composition import Agent, compose
from helmet_agent.app.hub import make_reporter
from helmet_agent.app.memory import memory_governor, memory_status
from helmet_agent.app.node import STUCK_SECONDS, Node
from helmet_agent.config import AgentConfig, HubConfig, MiningConfig, NodeConfig
from helmet_agent.errors import SourceLost
from helmet_agent.metrics import make_registry
from helmet_agent.source_url import SourceSettings
from helmet_agent.testing import ManualClock, ScriptedSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helmet_agent.ports import BgrImage


@pytest.fixture(scope="module")
def picture() -> BgrImage:
    image = cv2.imread(str(bundled_model_dir() / "golden_worker_zone_0080.jpg"))
    if image is None:
        image = cv2.imread(str(next(bundled_model_dir().glob("*.jpg"))))
    return np.asarray(image, np.uint8)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def agent(tmp_path: Path, picture: BgrImage, clock: ManualClock) -> Iterator[Agent]:
    config = AgentConfig(node=NodeConfig(name="n1", data_dir=tmp_path / "data"))
    source = ScriptedSource([picture] * 3, "gate", clock=clock)
    made = compose(config, clock, until_eof=True, sources=[(source, SourceSettings("gate", "gate"))])
    yield made
    made.close()


def run(agent: Agent) -> None:
    agent.ingest.start()
    agent.pipeline.run(threading.Event())


def test_the_snapshot_tells_what_happened(agent: Agent, clock: ManualClock) -> None:
    node = Node(agent, clock)
    assert not node.ready().ok
    run(agent)
    node.started()
    now = node.snapshot()
    assert now.ready
    assert now.node == "n1"
    assert now.frames == 3
    assert now.model is not None
    assert now.model.sha256 == agent.slot.current.manifest.model.sha256
    assert sum(now.detections.values()) >= 3
    assert [(source.name, source.state, source.frames_read) for source in now.sources] == [("gate", "ended", 3)]
    assert now.mining is not None
    assert now.mining.considered == 3
    assert now.to_json()["health"] == {"status": "ok", "reasons": []}


def test_metrics_speak_of_the_same_frames(agent: Agent, clock: ManualClock) -> None:
    run(agent)
    text = generate_latest(make_registry(Node(agent, clock))).decode()
    assert "helmet_agent_frames_processed_total 3.0" in text
    assert 'helmet_agent_source_frames_read_total{source="gate"} 3.0' in text


def test_a_loop_that_stands_still_is_failing_health(agent: Agent, clock: ManualClock) -> None:
    node = Node(agent, clock)
    assert node.health().ok
    clock.advance(STUCK_SECONDS + 1)
    health = node.health()
    assert health.status == "failing"
    assert any("inference" in reason for reason in health.reasons)


def test_a_source_that_is_away_is_degraded_and_says_why(tmp_path: Path, clock: ManualClock) -> None:
    config = AgentConfig(node=NodeConfig(name="n1", data_dir=tmp_path / "data"))
    faults = [SourceLost("the camera was unplugged")] * 1000
    source = ScriptedSource([], "yard", live=True, clock=clock, open_faults=faults)
    agent = compose(config, clock, until_eof=False, sources=[(source, SourceSettings("yard", "yard"))])
    node = Node(agent, clock)
    agent.ingest.start()
    try:
        for _ in range(200):
            if "the camera was unplugged" in " ".join(node.health().reasons):
                break
            agent.pipeline.step(0.05)
        assert node.health().status == "degraded"
        assert any("source yard: the camera was unplugged" in reason for reason in node.health().reasons)
    finally:
        agent.close()


@dataclass
class NearlyFull:
    rss_bytes: int
    physical_bytes: int
    groups: tuple[()] = ()


def test_short_memory_sheds_preview_then_mining_then_frames_and_shows(agent: Agent, clock: ManualClock) -> None:
    node = Node(agent, clock)
    wanted: list[Exception] = []
    loop = memory_governor(agent, node.preview, wanted.append, clock, lambda: NearlyFull(900 << 20, 1000 << 20))
    node.watch_memory(loop)
    shed: list[tuple[str, ...]] = []
    for _ in range(4):
        loop.tick()
        shed.append(memory_status(loop).shedding)
        clock.advance(10)
    assert shed[:3] == [("preview",), ("preview", "mining"), ("preview", "mining", "frame_rate")]
    assert any("preview, mining, frame_rate" in reason for reason in node.health().reasons)
    with pytest.raises(PreviewRefusedError):
        node.preview.open()
    assert not wanted


def test_the_hub_shows_in_the_snapshot_and_what_is_sent_is_shed_with_mining(
    tmp_path: Path, picture: BgrImage, clock: ManualClock
) -> None:
    token = tmp_path / "hub.token"
    make_token(token)
    hub = HubConfig(url="http://localhost:9", token_file=token)
    config = AgentConfig(node=NodeConfig(name="n1", data_dir=tmp_path / "data"), hub=hub)
    source = ScriptedSource([picture], "gate", clock=clock)
    agent = compose(config, clock, until_eof=True, sources=[(source, SourceSettings("gate", "gate"))])
    try:
        node = Node(agent, clock)
        reporter = make_reporter(hub, node, clock)
        assert reporter is not None
        node.watch_reports(reporter)
        assert agent.uplink is not None
        loop = memory_governor(agent, node.preview, [].append, clock, lambda: NearlyFull(900 << 20, 1000 << 20))
        for state in ("idle", "paused"):
            agent.uplink.step()
            now = node.snapshot()
            assert now.uplink is not None
            assert now.reports is not None
            assert now.uplink.state == state
            for _ in range(2):
                loop.tick()
                clock.advance(10)
    finally:
        agent.close()
    assert agent.uplink.status().state == "stopped"


def test_what_was_kept_before_mining_was_switched_off_is_still_looked_after(
    tmp_path: Path, picture: BgrImage, clock: ManualClock
) -> None:
    token = tmp_path / "hub.token"
    make_token(token)
    (tmp_path / "data" / "spool").mkdir(parents=True)
    config = AgentConfig(
        node=NodeConfig(name="n1", data_dir=tmp_path / "data"),
        mining=MiningConfig(enabled=False),
        hub=HubConfig(url="http://localhost:9", token_file=token),
    )
    source = ScriptedSource([picture], "gate", clock=clock)
    agent = compose(config, clock, until_eof=True, sources=[(source, SourceSettings("gate", "gate"))])
    try:
        assert agent.mining is None
        assert agent.spool is not None
        assert agent.uplink is not None
        run(agent)
        assert Node(agent, clock).snapshot().frames == 1
    finally:
        agent.close()
