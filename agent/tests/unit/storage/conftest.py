# SPDX-License-Identifier: Apache-2.0
"""Examples and events that storage tests are full of."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from helmet_agent.contract import ComplianceEvent, Detection, ExampleRecord, HardExample

MakeExample = Callable[..., HardExample]
MakeEvent = Callable[..., ComplianceEvent]


def make_example(
    number: int, *, size: int = 3000, rule: str = "IBT", value: float = 0.5, time_seconds: float = 1.7e9
) -> HardExample:
    jpeg = (b"\xff\xd8" + f"example {number}".encode()).ljust(size, b"\0")
    return HardExample(
        jpeg,
        ExampleRecord(
            sha256=hashlib.sha256(jpeg).hexdigest(),
            node="node-1",
            source="gate",
            frame=number,
            time_seconds=time_seconds,
            width=640,
            height=360,
            model="0" * 64,
            rule=rule,
            value=value,
            detections=(Detection("helmet", 0.5, (1.0, 2.0, 30.0, 40.0)),),
        ),
    )


@pytest.fixture(name="make_example")
def _make_example() -> MakeExample:
    return make_example


@pytest.fixture(name="make_event")
def _make_event() -> MakeEvent:
    def make_event(identity: str, **changes: Any) -> ComplianceEvent:
        event = ComplianceEvent(
            id=identity,
            kind="violation_started",
            source="gate",
            frame=7,
            time_seconds=1.8e9,
            track=1,
            label="helmet-off",
            score=0.75,
            box=(1.0, 2.0, 30.0, 40.0),
        )
        return dataclasses.replace(event, **changes)

    return make_event
