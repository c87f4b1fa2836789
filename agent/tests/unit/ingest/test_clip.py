# SPDX-License-Identifier: Apache-2.0
"""Video files: read to the very last frame, and every kind of broken file named in one line."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

import helmet_agent
from helmet_agent.adapters.clip import Clip
from helmet_agent.errors import SourceMissing
from helmet_agent.source_url import SourceSettings
from helmet_agent.testing import ManualClock

# Its index stands in front, so that what is there plays when the rest is missing.
INDEX_FIRST = Path(helmet_agent.__file__).parent / "assets" / "clips" / "one-by-one-person-detection.mp4"
PROMISED = 1394
FRAMES = 20


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames at 10 a second; frame n is uniformly 10 * n bright."""
    path = tmp_path_factory.mktemp("clip") / "short.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for number in range(FRAMES):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    return path


def clip(path: Path | str, clock: ManualClock | None = None, **settings: object) -> Clip:
    return Clip(SourceSettings("clip", str(path), **settings), clock or ManualClock())


def everything(source: Clip, limit: int = 1000) -> list:
    source.open()
    frames = []
    while len(frames) < limit and (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_the_very_last_frame_is_read(short_clip: Path) -> None:
    frames = everything(clip(short_clip))
    assert [frame.seq for frame in frames] == list(range(FRAMES))
    assert abs(int(frames[-1].image.mean()) - 190) < 8
    assert {frame.source for frame in frames} == {"clip"}


def test_every_frame_is_the_receivers_own(short_clip: Path) -> None:
    frames = everything(clip(short_clip))
    assert [round(frame.image.mean() / 10) for frame in frames] == list(range(FRAMES))  # nothing was overwritten
    assert all(frame.image.flags.owndata for frame in frames)


def test_a_loop_goes_on_counting(short_clip: Path) -> None:
    frames = everything(clip(short_clip, loop=True), limit=45)
    assert [frame.seq for frame in frames] == list(range(45))
    assert [round(frame.image.mean() / 10) for frame in frames] == [n % FRAMES for n in range(45)]


def test_its_own_frame_rate_is_known_and_a_file_is_not_live(short_clip: Path) -> None:
    source = clip(short_clip)
    source.open()
    assert source.frames_per_second == 10
    assert not source.live
    assert source.faults == {}


def test_stepping_over_frames_gives_the_same_frames(short_clip: Path) -> None:
    source = clip(short_clip)
    source.open()
    found = []
    for number in range(FRAMES):
        assert source.grab()
        if number % 3 == 0:
            found.append(source.retrieve())
    assert not source.grab()
    assert [frame.seq for frame in found] == list(range(0, FRAMES, 3))
    assert [round(frame.image.mean() / 10) for frame in found] == list(range(0, FRAMES, 3))


def test_real_time_is_kept_and_makes_it_live(short_clip: Path) -> None:
    clock = ManualClock()
    source = clip(short_clip, clock, realtime=True)
    assert source.live
    frames = everything(source)
    assert len(frames) == FRAMES
    arrivals = [frame.arrived_seconds for frame in frames]
    assert arrivals == pytest.approx([n / 10 for n in range(FRAMES)])


def test_real_time_does_not_hurry_after_a_long_pause(short_clip: Path) -> None:
    clock = ManualClock()
    source = clip(short_clip, clock, realtime=True)
    source.open()
    first = source.read()
    clock.advance(60)
    arrivals = [source.read().arrived_seconds - first.arrived_seconds for _ in range(3)]
    assert arrivals == pytest.approx([60, 60.1, 60.2])


@pytest.mark.parametrize("address", ["{path}", "file://{path}", "file:/{path}"])
def test_file_addresses(short_clip: Path, address: str) -> None:
    assert len(everything(clip(address.format(path=short_clip)))) == FRAMES


def test_names_that_look_like_protocols_or_patterns_are_names(
    short_clip: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    here = Path.cwd()
    request.addfinalizer(lambda: os.chdir(here))
    os.chdir(tmp_path)
    for name in ("http:clip.mp4", "clip%03d.mp4", "-clip.mp4", "Clip with ä space.mp4"):
        Path(name).write_bytes(short_clip.read_bytes())
        assert len(everything(clip(name))) == FRAMES


def refusal(source: Clip) -> str:
    with pytest.raises(SourceMissing) as error:
        everything(source)
    line = str(error.value)
    assert "\n" not in line
    return line


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(clip(tmp_path / "nothing.mp4"))


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(clip(tmp_path))


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "the file is empty" in refusal(clip(tmp_path / "empty.mp4"))


@pytest.mark.parametrize("content", [b"hello\n" * 100, os.urandom(4096), b"\0" * 4096], ids=["text", "noise", "zeros"])
def test_a_file_that_is_no_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "no.mp4").write_bytes(content)
    assert "not a video" in refusal(clip(tmp_path / "no.mp4"))


def test_a_file_cut_off_before_its_index(tmp_path: Path, short_clip: Path) -> None:
    data = short_clip.read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    assert "cut off before its index" in refusal(clip(tmp_path / "cut.mp4"))


def test_a_file_that_the_system_does_not_hand_out(tmp_path: Path) -> None:
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    assert "cannot be read (Too many levels" in refusal(clip(tmp_path / "circle.mp4"))
    (tmp_path / "file").touch()
    assert "cannot be read (Not a directory" in refusal(clip(tmp_path / "file" / "clip.mp4"))


@pytest.mark.parametrize("kept", [0.15, 0.999], ids=["most is missing", "the last frames are missing"])
def test_a_truncated_file_plays_what_it_has_and_says_so(tmp_path: Path, kept: float) -> None:
    data = INDEX_FIRST.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: int(len(data) * kept)])
    source = clip(path)
    source.open()
    with capture_logs() as logs:
        frames = 0
        while source.grab():
            frames += 1
        assert not source.grab()  # asking again changes nothing
    assert 0.1 * PROMISED < frames < PROMISED
    assert source.faults == {"truncated": 1}
    (line,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert line["path"] == str(path)
    assert (line["frames"], line["promised"]) == (frames, PROMISED)


def test_a_truncated_file_whose_format_only_estimates_its_length(tmp_path: Path) -> None:
    path = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(100):
        writer.write(np.full((48, 64, 3), number, np.uint8))
    writer.release()
    whole = clip(path)
    assert len(everything(whole)) == 100
    assert whole.faults == {}
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    half = clip(cut)
    assert 10 < len(everything(half)) < 90
    assert half.faults == {"truncated": 1}


def test_an_index_without_any_frame_is_an_error(tmp_path: Path) -> None:
    data = INDEX_FIRST.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: data.index(b"mdat") + 8])
    line = refusal(clip(path))
    assert "no frame" in line or "not a video" in line


def test_reading_an_unopened_or_closed_clip_gives_nothing(short_clip: Path) -> None:
    source = clip(short_clip)
    assert source.read() is None
    source.open()
    source.close()
    source.close()
    assert source.read() is None
    source.open()
    assert source.read() is not None


def test_close_from_another_thread_ends_a_loop(short_clip: Path) -> None:
    source = clip(short_clip, loop=True)
    source.open()
    reader = threading.Thread(target=lambda: list(iter(source.read, None)))
    reader.start()
    source.close()
    reader.join(10)
    assert not reader.is_alive()
