# SPDX-License-Identifier: Apache-2.0
"""Examples and events that storage tests are full of."""

import hashlib
from collections.abc import Callable

import pytest

from helmet_agent.contract import Detection, ExampleRecord, HardExample

MakeExample = Callable[..., HardExample]


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
