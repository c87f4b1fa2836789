# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from helmet_cloud.cli import main
from helmet_cloud.labels import LabelFormat, read_labels

if TYPE_CHECKING:
    from pathlib import Path

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """A YOLO folder: one person, one empty picture."""
    folder = tmp_path / "in"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for name, text in (("a", "0 0.5 0.5 0.5 0.5\n"), ("b", "")):
        assert cv2.imwrite(str(folder / "images" / f"{name}.png"), np.zeros((40, 80, 3), np.uint8))
        (folder / "labels" / f"{name}.txt").write_text(text)
    return folder


def run(*arguments: object) -> int:
    return main(["labels", *map(str, arguments)])


def test_import_copies_and_writes_a_data_set(yolo: Path, tmp_path: Path, capsys: Captured) -> None:
    dataset = tmp_path / "out" / "data.txt"
    assert run("import", "yolo", yolo, dataset, "--pictures", "copy") == 0
    assert dataset.read_text() == "images/a.png 20,10,60,30,0\nimages/b.png\n"
    out, err = capsys.readouterr()
    assert out == f"wrote {dataset}: 2 pictures (1 with nothing in them): 1 person\n"
    assert err == ""


def test_export_gives_the_same_back(yolo: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "out" / "data.txt"
    assert run("import", "yolo", yolo, dataset, "--pictures", "link") == 0
    for label_format, target in (("yolo", tmp_path / "y"), ("coco", tmp_path / "c" / "labels.json")):
        assert run("export", label_format, dataset, target, "--pictures", "copy") == 0
        found = read_labels(LabelFormat(label_format), target)
        assert found.problems == ()
        assert [picture.boxes for picture in found.pictures] == [
            picture.boxes for picture in read_labels(LabelFormat.YOLO, yolo).pictures
        ]


def test_convert_in_place(yolo: Path) -> None:
    assert run("convert", f"yolo:{yolo}", f"coco:{yolo / 'labels.json'}") == 0
    assert run("check", f"coco:{yolo / 'labels.json'}") == 0


def test_what_cannot_be_right_is_named_with_file_and_line_and_the_rest_is_used(
    yolo: Path, tmp_path: Path, capsys: Captured
) -> None:
    (yolo / "labels/b.txt").write_text("0 0.5 0.5 0.1 0.1\n7 0.5 0.5 0.1 0.1\n")
    dataset = tmp_path / "out" / "data.txt"
    assert run("import", "yolo", yolo, dataset, "--pictures", "copy") == 1
    assert len(dataset.read_text().splitlines()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{yolo / 'labels/b.txt'}:2: unknown class '7'")
    assert "1 pictures are not completely labelled" in lines[1]
    assert lines[-1] == "helmet-cloud: 2 problems, named above; what they name was left out"


def test_append_keeps_lines_and_leaves_out_what_is_there(yolo: Path, capsys: Captured) -> None:
    dataset = yolo / "data.txt"
    dataset.write_text("# kept as it is\nimages/a.png 1,2,3,4,3")
    assert run("import", "yolo", yolo, dataset, "--append") == 1
    assert dataset.read_text() == "# kept as it is\nimages/a.png 1,2,3,4,3\nimages/b.png\n"
    assert f"a.png: is in {dataset} already" in capsys.readouterr().err
    fresh = yolo / "fresh.txt"
    assert run("import", "yolo", yolo, fresh, "--append") == 0
    assert len(fresh.read_text().splitlines()) == 2


def test_what_is_there_is_not_overwritten_unasked(yolo: Path, capsys: Captured) -> None:
    dataset = yolo / "data.txt"
    dataset.write_text("precious\n")
    assert run("import", "yolo", yolo, dataset) == 2
    assert dataset.read_text() == "precious\n"
    assert "is there already: add --overwrite" in capsys.readouterr().err
    assert run("import", "yolo", yolo, dataset, "--overwrite") == 0
    assert run("export", "yolo", dataset, yolo) == 2
    assert (yolo / "labels/a.txt").read_text() == "0 0.5 0.5 0.5 0.5\n"


def test_pictures_elsewhere_need_copies(yolo: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run("import", "yolo", yolo, tmp_path / "out" / "data.txt") == 1
    err = capsys.readouterr().err
    assert "lies outside of" in err
    assert "copy or link" in err


def test_names_maps_and_completeness(yolo: Path, tmp_path: Path) -> None:
    (yolo / "labels/a.txt").write_text("0 .5 .5 .5 .5\n1 .5 .5 .5 .5\n2 .5 .5 .5 .5\n")
    target = tmp_path / "c" / "labels.json"
    options = ["--names", "head, vest,blur", "--map", "head=helmet-off", "--map", "vest=drop", "--map", "blur=ignore"]
    options += ["--complete", "helmet-on,helmet-off", "--pictures", "copy"]
    assert run("convert", f"yolo:{yolo}", f"coco:{target}", *options) == 0
    picture = read_labels(LabelFormat.COCO, target).pictures[0]
    assert [mark.label for mark in picture.boxes] == ["helmet-off"]
    assert len(picture.ignore) == 1
    assert picture.complete == {"helmet-on", "helmet-off"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "pascal", "a", "b"], "unknown format 'pascal': expected sedna, yolo, coco or labelstudio"),
        (["import", "coco", "a"], "Missing argument 'DATASET'"),
        (["check", "coco"], "expected FORMAT:PATH"),
        (["check", "coco:"], "expected FORMAT:PATH"),
        (["check", "sedna:none.txt"], "no such file or folder: none.txt"),
        (["check", "yolo:.", "--map", "head"], "--map: expected NAME=LABEL"),
        (["check", "yolo:.", "--map", "head=face"], "--map: expected NAME=LABEL with LABEL one of person,"),
        (["check", "yolo:.", "--complete", "head"], "--complete: unknown label 'head'"),
        (["convert", "yolo:.", "sedna:x/data.txt", "--pictures", "move"], "--pictures: expected keep, copy or link"),
        (["chekc", "yolo:."], "No such command 'chekc'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments: list[str], message: str, capsys: Captured) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("helmet-cloud: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("source", ["sedna:.", "coco:."])
def test_a_folder_where_a_file_should_be(source: str, capsys: Captured) -> None:
    assert run("check", source) == 1
    assert capsys.readouterr().err == "helmet-cloud: no such annotation file: .\n"


def test_a_target_that_cannot_be_written_is_one_line(yolo: Path, capsys: Captured) -> None:
    assert run("import", "yolo", yolo, yolo / "labels/a.txt/data.txt") == 1
    err = capsys.readouterr().err
    assert err.startswith("helmet-cloud: cannot ")
    assert err.count("\n") == 1


def test_without_a_command_the_help_is_shown(capsys: Captured) -> None:
    assert run() == 2
    assert "convert" in capsys.readouterr().out
