# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from helmet_agent.errors import SourceMissing
from helmet_cloud.labels import LABELS, ClassMap, LabelBox, read_yolo

if TYPE_CHECKING:
    from pathlib import Path

HEADS = frozenset(LABELS) - {"person"}


def label(data: Path, **files: str) -> None:
    """Writes label files, named by the picture's stem."""
    for stem, content in {"a": "", "b": "", "deep/c": "", **files}.items():
        path = data / "labels" / f"{stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_reads_shares_of_the_picture(data: Path) -> None:
    label(data, a="2 0.5 0.5 0.25 0.5\n\n0 .5 5e-1 1 1\n")
    found = read_yolo(data)
    assert found.problems == ()
    assert [picture.path.name for picture in found.pictures] == ["a.jpg", "b.png", "c.bmp"]
    assert found.pictures[0].boxes == (
        LabelBox("helmet-on", (24.0, 12.0, 40.0, 36.0)),
        LabelBox("person", (0.0, 0.0, 64.0, 48.0)),
    )
    assert found.pictures[1].boxes == ()


def test_pictures_and_texts_may_lie_side_by_side(data: Path) -> None:
    folder = data / "images"
    (folder / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "b.txt").touch()
    (folder / "deep" / "c.txt").touch()
    assert len(read_yolo(folder).pictures) == 3


def test_another_folder_of_texts(data: Path) -> None:
    label(data)
    (data / "labels").rename(data / "labels_4class")
    assert len(read_yolo(data, annotations="labels_4class").pictures) == 3


def test_the_set_names_its_classes(data: Path) -> None:
    label(data, a="1 0.5 0.5 0.5 0.5\n2 0.5 0.5 0.2 0.2\n")
    (data / "classes.txt").write_text("person\nhead\nhelmet\n")
    found = read_yolo(data, ClassMap(meaning={"head": "helmet-off", "helmet": "helmet-on"}))
    assert [mark.label for mark in found.pictures[0].boxes] == ["helmet-off", "helmet-on"]
    given = read_yolo(data, ClassMap(("helmet", "helmet-on", "person")))
    assert [mark.label for mark in given.pictures[0].boxes] == ["helmet-on", "person"]


@pytest.mark.parametrize(
    ("line", "reason", "complete"),
    [
        ("0 0.5 0.5 nan 0.5", "'nan' is no finite number", HEADS),
        ("0 0.5 0.5 1e999 0.5", "is no finite number", HEADS),
        ("0 0.5 0.5 1_0 0.5", "is no finite number", HEADS),
        ("0 0.5 0.5 0 0.5", "has no size", HEADS),
        ("0 0.5 0.5 -0.1 0.5", "has no size", HEADS),
        ("0 0.9 0.5 0.5 0.5", "sticks out", HEADS),
        ("0 1.5 0.5 0.5 0.5", "sticks out", HEADS),
        ("4 0.5 0.5 0.5 0.5", "unknown class '4'", frozenset()),
        ("-1 0.5 0.5 0.5 0.5", "must be a whole number", frozenset()),
        ("1.0 0.5 0.5 0.5 0.5", "must be a whole number", frozenset()),
        ("9999999999999999 0.5 0.5 0.5 0.5", "must be a whole number", frozenset()),
        ("0 0.5 0.5 0.5", "expected class cx cy w h, found 4 values", frozenset()),
        ("0 0.5 0.5 0.5 0.5 0.9", "found 6 values", frozenset()),
    ],
)
def test_a_wrong_line_is_left_out_and_its_picture_no_longer_complete(
    data: Path, line: str, reason: str, complete: frozenset[str]
) -> None:
    label(data, a=f"3 0.5 0.5 0.5 0.5\n{line}\n")
    found = read_yolo(data)
    (problem,) = found.problems
    assert (problem.file, problem.line) == (data / "labels/a.txt", 2)
    assert reason in problem.reason
    assert [mark.label for mark in found.pictures[0].boxes] == ["helmet-off"]
    assert found.pictures[0].complete == complete
    assert found.pictures[1].complete == frozenset(LABELS)


def test_overshoot_of_a_pixel_is_clamped(data: Path) -> None:
    label(data, a=f"0 {32.5 / 64} 0.5 {65 / 64} 0.5\n")
    found = read_yolo(data)
    assert found.problems == ()
    assert found.pictures[0].boxes[0].box == (0.0, 12.0, 64.0, 36.0)


def test_a_picture_without_text_says_nothing(data: Path) -> None:
    label(data)
    (data / "labels/b.txt").unlink()
    found = read_yolo(data)
    assert [picture.path.name for picture in found.pictures] == ["a.jpg", "c.bmp"]
    assert "nobody knows what is in b.png" in found.problems[0].reason


def test_a_text_without_picture_is_reported(data: Path) -> None:
    label(data, z="0 0.5 0.5 0.5 0.5\n")
    (problem,) = read_yolo(data).problems
    assert (problem.file.name, problem.reason) == ("z.txt", "no picture belongs to this file")


def test_a_picture_that_cannot_be_read_is_reported(data: Path) -> None:
    label(data)
    (data / "images/b.png").write_bytes(b"\x89PNG")
    found = read_yolo(data)
    assert len(found.pictures) == 2
    assert "not a picture" in found.problems[0].reason


def test_a_missing_folder_is_an_error_of_its_own(data: Path) -> None:
    with pytest.raises(SourceMissing, match="no such folder"):
        read_yolo(data / "none")
    with pytest.raises(SourceMissing, match="no folder labels/ with text files beside images/"):
        read_yolo(data)


def test_sets_labelled_for_heads_only_say_so(data: Path) -> None:
    label(data)
    assert {picture.complete for picture in read_yolo(data, complete=HEADS).pictures} == {HEADS}
