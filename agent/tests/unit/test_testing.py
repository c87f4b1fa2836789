# SPDX-License-Identifier: Apache-2.0
"""The fakes keep the promises of the ports: other tests build on them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helmet_agent.contract import Detection, ExampleRecord, HardExample, ModelManifest
from helmet_agent.errors import ModelError, SourceLost, SourceMissing, StorageError
from helmet_agent.testing import FakeDetector, ManualClock, MemorySink, ScriptedSource, example_manifest

if TYPE_CHECKING:
    from helmet_agent.ports import Clock, Detector, ExampleSink, FrameSource

PICTURE = np.zeros((72, 128, 3), np.uint8)
HEAD = Detection("helmet-off", 0.6, (1.0, 2.0, 3.0, 4.0))


def example(content: bytes) -> HardExample:
    digest = hashlib.sha256(content).hexdigest()
    return HardExample(content, ExampleRecord(digest, "node", "cam", 0, 0.0, 128, 72, "0" * 64, "IBT", 1.0, ()))


def test_time_passes_only_by_hand() -> None:
    manual = ManualClock(1000.0)
    clock: Clock = manual
    assert (clock.now(), clock.monotonic()) == (1000.0, 0.0)
    clock.sleep(2.0)
    manual.advance(1.5)
    assert (clock.now(), clock.monotonic(), manual.slept) == (1003.5, 3.5, [2.0])
    manual.jump(-3600.0)
    assert (clock.now(), clock.monotonic()) == (-2596.5, 3.5)
    with pytest.raises(ValueError, match="backwards"):
        manual.advance(-1.0)


def test_the_detector_follows_its_script() -> None:
    clock = ManualClock()
    fake = FakeDetector([[HEAD], []], clock=clock, delay_seconds=0.5, fails_on=[2])
    detector: Detector = fake
    prepared = detector.prepare(PICTURE)
    assert prepared.pixels.shape == (352, 640, 3)
    assert detector.prepare(PICTURE, prepared) is prepared
    assert detector.infer(prepared) == (HEAD,)
    assert detector.infer(prepared) == ()
    with pytest.raises(ModelError, match="inference 2 fails"):
        detector.infer(prepared)
    assert detector.infer(prepared) == ()
    assert detector.infer(prepared, 0.7) == ()
    assert (fake.calls, clock.monotonic()) == (5, 2.5)
    assert FakeDetector().infer(prepared) == ()


def test_the_manifest_is_one_that_can_be_read_back() -> None:
    manifest = example_manifest(release=7)
    assert manifest.release == 7
    assert ModelManifest.from_bytes(manifest.to_bytes()) == manifest


def test_the_sink_keeps_each_example_once_and_fails_on_cue() -> None:
    memory = MemorySink()
    sink: ExampleSink = memory
    assert sink.put(example(b"a"))
    assert not sink.put(example(b"a"))
    memory.fails_with = StorageError("disk full")
    with pytest.raises(StorageError):
        sink.put(example(b"b"))
    memory.fails_with = None
    assert sink.put(example(b"b"))
    assert len(memory.records) == 2


def test_the_source_delivers_fails_and_goes_on() -> None:
    clock = ManualClock(100.0)
    scripted = ScriptedSource(
        [PICTURE, SourceLost("gone"), PICTURE],
        live=True,
        clock=clock,
        period_seconds=0.5,
        open_faults=[SourceMissing("not there")],
    )
    source: FrameSource = scripted
    with pytest.raises(SourceMissing):
        source.open()
    source.open()
    first = source.read()
    assert first is not None
    assert (first.source, first.seq, first.time_seconds, first.arrived_seconds) == ("scripted", 0, 100.5, 0.5)
    with pytest.raises(SourceLost):
        source.read()
    source.close()
    assert source.read() is None
    source.open()
    second = source.read()
    assert second is not None
    assert second.seq == 1
    assert source.read() is None
    assert (source.live, scripted.opened, scripted.closed) == (True, 3, 1)
