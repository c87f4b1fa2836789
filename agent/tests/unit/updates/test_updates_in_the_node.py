# SPDX-License-Identifier: Apache-2.0
"""Where updates touch the rest of the agent: the pipeline's rescue, memory, health and metrics."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from prometheus_client import generate_latest

from helmet_agent.app.snapshot import FAULTY_POLLS, update_problems
from helmet_agent.app.updates import free_bytes
from helmet_agent.errors import ModelError
from helmet_agent.metrics import make_registry
from helmet_agent.runtime import ModelSlot
from helmet_agent.services.ingest import Ingest
from helmet_agent.services.pipeline import MAX_CONSECUTIVE_FAILURES, Pipeline, SourceEyes
from helmet_agent.source_url import SourceSettings
from helmet_agent.status import NodeSnapshot, UpdateStatus
from helmet_agent.testing import FakeDetector, ManualClock, ScriptedSource
from helmet_agent.vision.tracking import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.ports import BgrImage
    from helmet_agent.vision.letterbox import PreparedFrame

FRAMES = 60


def run(slot: ModelSlot, rescue: Callable[[ModelError], bool] | None) -> Pipeline:
    clock = ManualClock()
    picture = np.zeros((72, 128, 3), np.uint8)

    def prepare(image: BgrImage, reuse: PreparedFrame | None) -> PreparedFrame:
        return slot.current.prepare(image, reuse)

    source = ScriptedSource([picture] * FRAMES, "gate", clock=clock)
    ingest = Ingest(
        [(source, SourceSettings("gate", "gate"))],
        prepare,
        clock,
        lambda: 0.5,
        until_eof=True,
    )
    pipeline = Pipeline(
        feed=ingest,
        slot=slot,
        eyes=lambda _source: SourceEyes(Tracker(), None),
        mining=None,
        observers=[],
        clock=clock,
    )
    pipeline.rescue = rescue
    ingest.start()
    try:
        pipeline.run(threading.Event())
    finally:
        ingest.close()
    return pipeline


def test_the_pipeline_goes_on_with_the_model_before_when_somebody_rescues_it() -> None:
    good, bad = FakeDetector(), FakeDetector(fails_on=range(1000))
    slot = ModelSlot(bad)
    reasons: list[str] = []

    def rescue(error: ModelError) -> bool:
        reasons.append(str(error))
        slot.swap(good)
        return True

    pipeline = run(slot, rescue)
    assert len(reasons) == 1
    assert pipeline.counters.failures == MAX_CONSECUTIVE_FAILURES
    assert pipeline.counters.frames == FRAMES - MAX_CONSECUTIVE_FAILURES


@pytest.mark.parametrize("rescue", [None, lambda _error: False])
def test_the_pipeline_ends_when_nobody_can(rescue: Callable[[ModelError], bool] | None) -> None:
    with pytest.raises(ModelError, match="frames in a row"):
        run(ModelSlot(FakeDetector(fails_on=range(1000))), rescue)


@dataclass
class Group:
    used_bytes: int
    limit_bytes: int | None


@dataclass
class Reading:
    rss_bytes: int
    physical_bytes: int
    groups: list[Group] = field(default_factory=list)


def test_a_trial_has_the_room_that_the_nearest_limit_leaves() -> None:
    reading = Reading(150, 1000, [Group(300, 600), Group(400, None)])
    assert free_bytes(reading, None) == 300
    assert free_bytes(reading, 250) == 100
    assert free_bytes(Reading(150, 1000), None) == 850
    assert free_bytes(Reading(300, 1000), 250) == 0


def status(**changes: object) -> UpdateStatus:
    fields = {"state": "confirmed", "job": "default/job", "ring": "stable", "release": 7, "sha256": "a" * 64}
    return UpdateStatus(**(fields | changes))  # type: ignore[arg-type]


def test_a_channel_that_stays_away_is_degraded_health() -> None:
    assert not list(update_problems(status(last_error="answered 503", faults_in_a_row=FAULTY_POLLS - 1)))
    (problem,) = update_problems(status(last_error="answered 503", faults_in_a_row=FAULTY_POLLS))
    assert (problem.severity.value, problem.part, problem.reason) == ("degraded", "updates", "answered 503")


class Source:
    def snapshot(self) -> NodeSnapshot:
        updates = status(
            quarantined=(("b" * 64, "too slow"),), checked_seconds=12.0, counters={"polls": 5, "confirmed": 1}
        )
        return NodeSnapshot("n1", "0.1", 0.0, 1.0, updates=updates)


def test_metrics_tell_what_the_updater_does() -> None:
    text = generate_latest(make_registry(Source())).decode()
    assert 'helmet_agent_updates_info{job="default/job",ring="stable",state="confirmed"} 1.0' in text
    assert "helmet_agent_updates_quarantined_models 1.0" in text
    assert "helmet_agent_updates_checked_time_seconds 12.0" in text
    assert 'helmet_agent_updates_total{what="polls"} 5.0' in text


def test_the_status_shows_the_updater() -> None:
    found = Source().snapshot().to_json()["updates"]
    assert found["state"] == "confirmed"
    assert found["quarantined"] == [["b" * 64, "too slow"]]
