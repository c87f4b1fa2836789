# SPDX-License-Identifier: Apache-2.0
"""Pictures: in order, by their own names, and the unreadable ones passed over, counted and named."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from helmet_agent.adapters.pictures import Pictures
from helmet_agent.errors import SourceMissing
from helmet_agent.source_url import SourceSettings
from helmet_agent.testing import ManualClock


def paint(path: Path, value: int) -> Path:
    assert cv2.imwrite(str(path), np.full((8, 12, 3), value, np.uint8))
    return path


def pictures(path: Path | str, **settings: object) -> Pictures:
    return Pictures(SourceSettings("folder", str(path), **settings), ManualClock())


def everything(source: Pictures, limit: int = 100) -> list:
    source.open()
    frames = []
    while len(frames) < limit and (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_one_picture(tmp_path: Path) -> None:
    (frame,) = everything(pictures(paint(tmp_path / "one.png", 50)))
    assert (frame.source, frame.seq, frame.image.shape) == (str(tmp_path / "one.png"), 0, (8, 12, 3))
    assert np.all(frame.image == 50)


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for value, name in enumerate(["b.jpg", "a.png", "d.BMP", "c.webp", "e.jpeg"]):
        paint(tmp_path / name, 40 * value)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._a.png").write_bytes(b"left by another program")
    (tmp_path / "inside.png").mkdir()
    frames = everything(pictures(tmp_path))
    assert [(Path(frame.source).name, frame.seq) for frame in frames] == [
        ("a.png", 0),
        ("b.jpg", 1),
        ("c.webp", 2),
        ("d.BMP", 3),
        ("e.jpeg", 4),
    ]
    assert np.all(frames[0].image == 40)


def test_frames_are_named_by_the_path_as_it_was_given(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    here = Path.cwd()
    request.addfinalizer(lambda: os.chdir(here))
    os.chdir(tmp_path)
    Path("in").mkdir()
    paint(Path("in") / "a.png", 1)
    assert everything(pictures("in"))[0].source == "in/a.png"


@pytest.mark.parametrize("damage", ["empty", "noise", "text", "cut", "almost whole"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_an_unreadable_picture_is_passed_over_counted_and_named(tmp_path: Path, damage: str, suffix: str) -> None:
    paint(tmp_path / "a.png", 1)
    rng = np.random.default_rng(3)
    broken = tmp_path / f"b{suffix}"
    cv2.imwrite(str(broken), rng.integers(0, 255, (40, 60, 3), np.uint8))
    data = broken.read_bytes()
    broken.write_bytes(
        {
            "empty": b"",
            "noise": rng.bytes(500),
            "text": b"hello\n",
            "cut": data[: len(data) // 2],
            "almost whole": data[: int(len(data) * 0.98)],
        }[damage]
    )
    paint(tmp_path / "c.png", 3)
    source = pictures(tmp_path)
    with capture_logs() as logs:
        frames = everything(source)
    assert [(Path(frame.source).name, frame.seq) for frame in frames] == [("a.png", 0), ("c.png", 2)]
    assert source.faults == {"unreadable": 1}
    assert [entry["path"] for entry in logs if entry["log_level"] == "warning"] == [str(broken)]


def test_a_picture_that_vanishes_is_passed_over(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        paint(tmp_path / name, 1)
    source = pictures(tmp_path)
    source.open()
    (tmp_path / "a.png").unlink()
    assert source.read().seq == 1
    assert source.faults == {"unreadable": 1}


def test_grey_deep_and_transparent_pictures_come_as_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((8, 12), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 12, 3), 7 * 257, np.uint16))
    cv2.imwrite(str(tmp_path / "alpha.png"), np.full((8, 12, 4), 7, np.uint8))
    for frame in everything(pictures(tmp_path)):
        assert frame.image.shape == (8, 12, 3)
        assert frame.image.dtype == np.uint8
        assert np.all(frame.image == 7)


def test_a_loop_goes_round_and_counts_on(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        paint(tmp_path / name, 1)
    frames = everything(pictures(tmp_path, loop=True), limit=5)
    assert [(Path(frame.source).name, frame.seq) for frame in frames] == [
        ("a.png", 0),
        ("b.png", 1),
        ("a.png", 2),
        ("b.png", 3),
        ("a.png", 4),
    ]


def test_stepping_over_a_picture_does_not_read_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"broken")
    paint(tmp_path / "b.png", 1)
    source = pictures(tmp_path)
    source.open()
    assert source.grab()
    assert source.grab()
    assert source.retrieve().seq == 1
    assert not source.grab()
    assert source.faults == {}


def refusal(source: Pictures) -> str:
    with pytest.raises(SourceMissing) as error:
        everything(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_picture(tmp_path: Path) -> None:
    assert "no such file" in refusal(pictures(tmp_path / "nothing.jpg"))


def test_a_single_unreadable_picture_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"hello")
    assert "not a picture" in refusal(pictures(tmp_path / "a.jpg"))


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert "holds no pictures" in refusal(pictures(tmp_path))


@pytest.mark.parametrize("loop", [True, False])
def test_a_folder_of_unreadable_pictures_is_an_error(tmp_path: Path, loop: bool) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"hello")
    assert "none of its 2 pictures" in refusal(pictures(tmp_path, loop=loop))


def test_closed_means_over(tmp_path: Path) -> None:
    source = pictures(paint(tmp_path / "a.png", 1), loop=True)
    source.open()
    source.close()
    assert source.read() is None
