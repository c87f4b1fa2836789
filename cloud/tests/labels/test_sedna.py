# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from helmet_agent.errors import SourceMissing
from helmet_cloud.labels import DROP, IGNORE, ClassMap, IgnoreRegion, LabelBox, read_sedna

if TYPE_CHECKING:
    from pathlib import Path


def read(data: Path, content: str | bytes, classes: ClassMap | None = None) -> tuple[list[str], list[str]]:
    """What a file yields: ``name: label x1,y1,x2,y2 ...`` and the problems without the file's path."""
    file = data / "data.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_sedna(file, classes)
    lines = [
        " ".join(
            [picture.path.relative_to(data).as_posix() + ":"]
            + [f"{mark.label} {','.join(f'{edge:g}' for edge in mark.box)}" for mark in picture.boxes]
        )
        for picture in found.pictures
    ]
    return lines, [str(problem).removeprefix(f"{file}:") for problem in found.problems]


def test_reads_ids_names_negatives_and_blank_lines(data: Path) -> None:
    content = "images/a.jpg 1,2,30,40,0 5,6,7,8,3\r\n\r\n  images/b.png\t0,0,31,17,helmet-on \nimages/deep/c.bmp\n"
    assert read(data, content) == (
        [
            "images/a.jpg: person 1,2,30,40 helmet-off 5,6,7,8",
            "images/b.png: helmet-on 0,0,31,17",
            "images/deep/c.bmp:",
        ],
        [],
    )


def test_a_byte_order_mark_and_a_missing_last_newline_do_no_harm(data: Path) -> None:
    assert read(data, b"\xef\xbb\xbfimages/a.jpg 1,2,3,4,1") == (["images/a.jpg: helmet 1,2,3,4"], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("images/none.jpg 1,2,3,4,0", "no such picture"),
        ("images 1,2,3,4,0", "no such picture"),
        ("broken.jpg 1,2,3,4,0", "not a picture, or cut off"),
        ("empty.jpg 1,2,3,4,0", "not a picture, or cut off"),
        ("cut.jpg 1,2,3,4,0", "not a picture, or cut off"),
        ("/etc/passwd 1,2,3,4,0", "must be named relative"),
        ("../images/a.jpg", "must be named relative"),
        ("images/../../x/a.jpg", "must be named relative"),
        ("images/a.jpg 1,2,3,4", "is no box x1,y1,x2,y2,class"),
        ("images/a.jpg 1,2,3,4,0,9", "is no box"),
        ("images/a.jpg 1.5,2,3,4,0", "is no box"),
        ("images/a.jpg nan,2,3,4,0", "is no box"),
        ("images/a.jpg 1,2,3,99999999999999999999,0", "is no box"),
        ("images/a.jpg \u0661,2,3,4,0", "is no box"),
        ("images/a.jpg 1,2,3,4,4", "unknown class '4'; known are 0 person, 1 helmet, 2 helmet-on, 3 helmet-off"),
        ("images/a.jpg 1,2,3,4,-1", "unknown class '-1'"),
        ("images/a.jpg 1,2,3,4,0000000000001", "unknown class"),
        ("images/a.jpg 1,2,3,4,vest", "unknown class 'vest'; known are person, helmet, helmet-on, helmet-off"),
        ("images/a.jpg 9,2,3,4,0", "has no size"),
        ("images/a.jpg 3,2,3,4,0", "has no size"),
        ("images/a.jpg 1,2,66,4,0", "box 1,2,66,4 sticks out of its picture of 64x48 pixels"),
        ("images/a.jpg -2,2,6,4,0", "sticks out"),
        ("images/a.jpg 1,48,6,49,0", "lies outside"),
        ("two words.jpg 1,2,3,4,0", "a path cannot hold white space here"),
    ],
)
def test_a_line_that_cannot_be_right_is_named_and_left_out(data: Path, line: str, reason: str) -> None:
    (data / "broken.jpg").write_bytes(b"no picture")
    (data / "empty.jpg").touch()
    whole = (data / "images/a.jpg").read_bytes()
    (data / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    lines, problems = read(data, f"images/b.png\n{line}\nimages/deep/c.bmp 1,2,3,4,0\n")
    assert lines == ["images/b.png:", "images/deep/c.bmp: person 1,2,3,4"]
    assert len(problems) == 1
    assert problems[0].startswith("2: ")
    assert reason in problems[0]


def test_rounding_overshoot_is_clamped(data: Path) -> None:
    assert read(data, "images/a.jpg -1,-1,65,49,0") == (["images/a.jpg: person 0,0,64,48"], [])


def test_one_wrong_box_spoils_its_line(data: Path) -> None:
    lines, problems = read(data, "images/a.jpg 1,2,3,4,0 1,2,3,4,9")
    assert (lines, len(problems)) == ([], 1)


def test_a_picture_named_twice_counts_once(data: Path) -> None:
    lines, problems = read(data, "images/a.jpg 1,2,3,4,0\n./images/a.jpg 5,6,7,8,0\n")
    assert lines == ["images/a.jpg: person 1,2,3,4"]
    assert problems == ["2: picture 'a.jpg' was named before"]


def test_a_wrong_line_does_not_take_its_picture_from_a_later_right_one(data: Path) -> None:
    lines, problems = read(data, "images/a.jpg 1,2,300,4,0\nimages/a.jpg 1,2,30,4,0\n")
    assert lines == ["images/a.jpg: person 1,2,30,4"]
    assert len(problems) == 1


def test_configured_names_and_meanings(data: Path) -> None:
    classes = ClassMap(
        ("head", "hat", "vest", "blur"), {"head": "helmet-off", "hat": "helmet-on", "vest": DROP, "blur": IGNORE}
    )
    file = data / "data.txt"
    file.write_text("images/a.jpg 1,2,3,4,0 1,2,5,6,hat 1,2,7,8,2 0,0,9,9,3\n")
    (picture,) = read_sedna(file, classes).pictures
    assert picture.boxes == (LabelBox("helmet-off", (1, 2, 3, 4)), LabelBox("helmet-on", (1, 2, 5, 6)))
    assert picture.ignore == (IgnoreRegion((0, 0, 9, 9)),)


def test_paths_are_relative_to_another_folder_when_told(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    index = tmp_path_factory.mktemp("round") / "data.txt"
    index.write_text("images/a.jpg\n")
    assert read_sedna(index).pictures == ()
    assert read_sedna(index, root=data).pictures[0].path == data / "images/a.jpg"


def test_a_line_of_ten_megabytes_is_one_problem(data: Path) -> None:
    lines, problems = read(data, b"images/a.jpg " + b"1,2,3,4,0 " * (1 << 20) + b"\nimages/b.png\n")
    assert lines == ["images/b.png:"]
    assert problems == ["1: line is longer than 1048576 bytes"]


def test_a_file_full_of_nonsense_ends_early(data: Path) -> None:
    lines, problems = read(data, b"x\n" * 50_000)
    assert lines == []
    assert len(problems) == 10_001
    assert "more than 10000 problems" in problems[-1]


def test_a_pipe_or_device_does_not_block(data: Path) -> None:
    os.mkfifo(data / "pipe.jpg")
    lines, problems = read(data, "pipe.jpg 1,2,3,4,0")
    assert lines == []
    assert "no such picture" in problems[0]


def test_a_missing_file_is_an_error_of_its_own(data: Path) -> None:
    with pytest.raises(SourceMissing, match="no such annotation file"):
        read_sedna(data / "none.txt")
