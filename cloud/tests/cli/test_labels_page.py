# SPDX-License-Identifier: Apache-2.0
"""What docs/labels.md shows is what happens."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmet_cloud.cli import main
from helmet_cloud.labels import ClassMap, LabelBox, read_sedna, read_yolo
from helmet_cloud.labels.checks import MAX_LINE_BYTES, MAX_PROBLEMS, OVERSHOOT, Unfit, checked_box

PAGE = (Path(__file__).parents[3] / "docs/labels.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def block(start: str) -> list[str]:
    """The lines of the example that starts so."""
    (found,) = (text for text in BLOCKS if text.startswith(start))
    return str(found).splitlines()


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((360, 640, 3), np.uint8))


def test_the_examples_of_sedna_and_yolo_mean_the_same(tmp_path: Path) -> None:
    for name in ("0001.jpg", "0002.jpg"):
        picture(tmp_path / "images" / name)
    (tmp_path / "data.txt").write_text("\n".join(block("images/0001.jpg")))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/0001.txt").write_text("\n".join(block("0 0.5")))
    (tmp_path / "labels/0002.txt").touch()
    sedna, yolo = read_sedna(tmp_path / "data.txt"), read_yolo(tmp_path)
    assert sedna.problems == yolo.problems == ()
    assert sedna.pictures[0].boxes[0] == LabelBox("person", (308.0, 51.0, 393.0, 242.0))
    for left, right in zip(sedna.pictures, yolo.pictures, strict=True):
        assert [mark.label for mark in left.boxes] == [mark.label for mark in right.boxes]
        for mark, other in zip(left.boxes, right.boxes, strict=True):
            assert mark.box == pytest.approx(other.box, abs=1)


def test_the_commands_work_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, name in (("frames", "f"), ("more", "m")):
        picture(Path(folder) / "images" / f"{name}.jpg")
        (Path(folder) / "labels").mkdir()
        (Path(folder) / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    picture(Path("tool/t.jpg"))
    tool = {
        "images": [{"id": 1, "file_name": "t.jpg"}],
        "categories": [{"id": 3, "name": "head"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 40]}],
    }
    Path("tool/labels.json").write_text(json.dumps(tool))
    commands = block("helmet-cloud labels")
    assert len(commands) == 5
    for line in commands:
        assert main(shlex.split(line)[1:]) == 0, line
    assert Path("data/data.txt").read_text() == "images/t.jpg 1,2,31,42,3\nimages/m.jpg 160,90,480,270,0\n"


def test_the_messages_are_those_of_the_program() -> None:
    reasons = [line.split(": ", 1)[1] for line in block("data/data.txt:17")]
    with pytest.raises(Unfit) as found:
        checked_box(1270, 40, 1300, 90, (1280, 704))
    assert str(found.value) == reasons[0]
    with pytest.raises(Unfit) as found:
        ClassMap().by_id(7)
    assert str(found.value) == reasons[1]
    with pytest.raises(Unfit) as found:
        checked_box(12, 8, 12, 30, (1280, 704))
    assert str(found.value) == reasons[2].removeprefix("annotations[5]: ")


def test_the_limits_are_those_of_the_program() -> None:
    assert (MAX_LINE_BYTES, MAX_PROBLEMS, OVERSHOOT) == (1 << 20, 10_000, 1.0)
    for words in ("longer than 1 MiB", "After 10,000 problems", "at most one pixel"):
        assert words in PAGE
