# SPDX-License-Identifier: Apache-2.0
"""The clips and frames of the repository through the whole ingest."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

import helmet_agent
from helmet_agent.app.sources import open_source
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.services.ingest import Ingest
from helmet_agent.source_url import SourceSettings
from helmet_agent.vision.letterbox import Letterbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIPS = Path(helmet_agent.__file__).parent / "assets" / "clips"
WORKER_ZONE = CLIPS / "worker-zone-detection.mp4"  # 122 frames, 12 a second
ONE_BY_ONE = CLIPS / "one-by-one-person-detection.mp4"  # 1394 frames
FRAMES = Path(__file__).parents[1] / "fixtures" / "frames" / "images"


@pytest.fixture
def ingest_of() -> Iterator[Callable[..., Ingest]]:
    started: list[Ingest] = []
    letterbox = Letterbox(352, 640, 128)

    def start(*sources: SourceSettings, until_eof: bool = True) -> Ingest:
        clock = SystemClock()
        pairs = [(open_source(each, clock), each) for each in sources]
        ingest = Ingest(pairs, letterbox.prepare, clock, random.Random(1).random, until_eof=until_eof)  # noqa: S311 - jitter
        started.append(ingest)
        ingest.start()
        return ingest

    yield start
    for ingest in started:
        ingest.close()


def write_clip(folder: Path, frames: int, fps: float) -> Path:
    path = folder / "short.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), number % 256, np.uint8))
    writer.release()
    return path


def everything(ingest: Ingest) -> list[tuple[str, int]]:
    found = []
    while not ingest.ended:
        if (arrival := ingest.take(0.2)) is not None:
            found.append((arrival.frame.source, arrival.frame.seq))
            arrival.release()
    return found


def test_two_clips_and_a_folder_are_read_to_the_last_frame_in_turn(ingest_of: Callable[..., Ingest]) -> None:
    ingest = ingest_of(
        SourceSettings("one", str(ONE_BY_ONE)),
        SourceSettings("zone", f"file://{WORKER_ZONE}"),
        SourceSettings("frames", str(FRAMES)),
    )
    found = everything(ingest)
    assert [seq for source, seq in found if source == "one"] == list(range(1394))
    assert [seq for source, seq in found if source == "zone"] == list(range(122))
    pictures = [(Path(source).name, seq) for source, seq in found if source not in ("one", "zone")]
    assert pictures == [(path.name, seq) for seq, path in enumerate(sorted(FRAMES.iterdir()))]
    assert all(not status.drops and not status.faults for status in ingest.statuses())


def test_every_nth_and_the_cap_choose_the_frames_of_a_clip(ingest_of: Callable[..., Ingest], tmp_path: Path) -> None:
    path = str(write_clip(tmp_path, 122, 12))
    assert [seq for _, seq in everything(ingest_of(SourceSettings("c", path, every_nth=10)))] == list(range(0, 122, 10))
    capped = ingest_of(SourceSettings("c", path, max_fps=4.0))
    assert [seq for _, seq in everything(capped)] == list(range(0, 122, 3))
    assert capped.statuses()[0].drops == {"max_fps": 81}


def test_a_clip_in_real_time_is_a_camera_that_drops_what_is_late(
    ingest_of: Callable[..., Ingest], tmp_path: Path
) -> None:
    path = write_clip(tmp_path, 75, 50)
    ingest = ingest_of(SourceSettings("fast", str(path), realtime=True))
    started = time.monotonic()
    seen = Counter()
    while not ingest.ended:
        if (arrival := ingest.take(0.2)) is not None:
            seen["taken"] += 1
            time.sleep(0.06)  # three periods
            arrival.release()
    assert time.monotonic() - started > 1.3
    (status,) = ingest.statuses()
    assert status.live
    assert status.frames_read == 75
    assert seen["taken"] + status.drops["replaced"] == 75
    assert status.drops["replaced"] > 30


def test_broken_sources_end_with_one_line_each_and_the_rest_is_read(
    ingest_of: Callable[..., Ingest], tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("hello\n" * 50)
    (tmp_path / "empty.mp4").touch()
    ingest = ingest_of(
        SourceSettings("missing", str(tmp_path / "missing.mp4")),
        SourceSettings("text", str(tmp_path / "text.mp4")),
        SourceSettings("empty", str(tmp_path / "empty.mp4")),
        SourceSettings("frames", str(FRAMES)),
    )
    assert len(everything(ingest)) == 20
    lines = [str(error) for error in ingest.failures]
    assert len(lines) == 3
    assert "no such file" in lines[0]
    assert "not a video" in lines[1]
    assert "is empty" in lines[2]
    assert [status.state for status in ingest.statuses()] == ["failed", "failed", "failed", "ended"]


def test_a_looped_clip_never_ends_and_closes_at_once(ingest_of: Callable[..., Ingest], tmp_path: Path) -> None:
    ingest = ingest_of(SourceSettings("c", str(write_clip(tmp_path, 30, 10)), loop=True))
    numbers = []
    while len(numbers) < 100:
        arrival = ingest.take(10)
        numbers.append(arrival.frame.seq)
        arrival.release()
    assert numbers == list(range(100))
    assert ingest.close()
