# SPDX-License-Identifier: Apache-2.0
"""One line a frame: what was seen and by which model, in files that do not grow for ever."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helmet_agent.adapters.detection_lines import DetectionLines
from helmet_agent.contract import Detection, FrameReport
from helmet_agent.errors import StorageError
from helmet_agent.ports import Frame
from helmet_agent.services.detection_log import DetectionLog
from helmet_agent.services.pipeline import ProcessedFrame
from helmet_agent.vision.tracking import Tracker

if TYPE_CHECKING:
    from pathlib import Path

SEEN = Detection("helmet-off", 0.51234, (1.04, 2.0, 3.0, 4.0))


def report(frame: int, source: str = "gate", model: str = "a" * 64) -> FrameReport:
    return FrameReport(source, frame, 64, 48, model, hard=False, detections=(SEEN,))


def processed(one: FrameReport) -> ProcessedFrame:
    frame = Frame(one.source, one.frame, 0.0, 0.0, np.zeros((48, 64, 3), np.uint8))
    return ProcessedFrame(one.source, frame, one, Tracker().update((), 0.0), (), 0.0, 0.0)


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_source_has_its_file_and_each_frame_its_line(tmp_path: Path) -> None:
    log = DetectionLog(lambda source: DetectionLines(tmp_path / "seen", source), blocking=True)
    for number in range(5):
        log.observe(processed(report(number)))
        log.observe(processed(report(number, "../a b", "b" * 64)))
    log.close(5.0)
    assert read(tmp_path / "seen" / "gate.jsonl") == [report(number).to_json() for number in range(5)]
    assert {line["model"] for line in read(tmp_path / "seen" / "_a_b.jsonl")} == {"b" * 64}
    assert log.dropped == 0


def test_two_halves_are_kept_and_no_line_is_cut(tmp_path: Path) -> None:
    length = len(json.dumps(report(10).to_json(), separators=(",", ":"))) + 1
    lines = DetectionLines(tmp_path, "gate", half_bytes=4 * length)
    for number in range(10, 20):
        lines.write(report(number))
    lines.close()
    assert [line["frame"] for line in read(tmp_path / "gate.1.jsonl")] == [14, 15, 16, 17]
    assert [line["frame"] for line in read(tmp_path / "gate.jsonl")] == [18, 19]


def test_a_second_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for number in range(2):
        lines = DetectionLines(tmp_path, "gate")
        lines.write(report(number))
        lines.close()
    assert [line["frame"] for line in read(tmp_path / "gate.jsonl")] == [0, 1]


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        DetectionLines(tmp_path / "file", "gate")
