# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.errors import SourceMissing
from helmet_cloud.labels import DROP, IGNORE, LABELS, ClassMap, IgnoreRegion, LabelBox, LabelSet, read_coco

if TYPE_CHECKING:
    from pathlib import Path

ALL = frozenset(LABELS)
CATEGORIES = [{"id": index, "name": label} for index, label in enumerate(LABELS)]


def document(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    images = [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}, {"id": 8, "file_name": "deep/c.bmp"}]
    return {"images": images, "categories": CATEGORIES, "annotations": list(annotations), **changes}


def mark(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2, 10, 20], "iscrowd": 0, **changes}


def read(data: Path, content: object, classes: ClassMap | None = None) -> LabelSet:
    file = data / "labels.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_coco(file, classes)


def test_reads_boxes_crowds_and_incompleteness(data: Path) -> None:
    content = document(mark(), mark(iscrowd=1, category_id=0), mark(image_id=8, bbox=[0.5, 0.25, 1.5, 2]))
    content["images"][1]["not_exhaustive_category_ids"] = [0]
    found = read(data, content)
    assert found.problems == ()
    first, second = found.pictures
    assert first.boxes == (LabelBox("helmet-on", (1, 2, 11, 22)),)
    assert first.ignore == (IgnoreRegion((1, 2, 11, 22), "person"),)
    assert second.boxes[0].box == (0.5, 0.25, 2.0, 2.25)
    assert (second.path, second.complete) == (data / "images/deep/c.bmp", ALL - {"person"})


def test_categories_may_be_mapped_ignored_and_dropped(data: Path) -> None:
    content = document(
        mark(category_id=1),
        mark(category_id=2),
        mark(category_id=3),
        categories=[{"id": 1, "name": "head"}, {"id": 2, "name": "blur_head"}, {"id": 3, "name": "shoe"}],
    )
    found = read(data, content, ClassMap(meaning={"head": "helmet-off", "blur_head": IGNORE, "shoe": DROP}))
    assert found.problems == ()
    assert found.pictures[0].boxes == (LabelBox("helmet-off", (1, 2, 11, 22)),)
    assert found.pictures[0].ignore == (IgnoreRegion((1, 2, 11, 22)),)


def test_a_category_without_meaning_is_reported_once(data: Path) -> None:
    content = document(*(mark(category_id=9) for _ in range(5)), categories=[*CATEGORIES, {"id": 9, "name": "shoe"}])
    found = read(data, content)
    assert [str(problem) for problem in found.problems] == [
        f"{data / 'labels.json'}: categories[4]: unknown class 'shoe'; known are person, helmet, helmet-on, helmet-off"
    ]
    assert found.pictures[0].complete == ALL


@pytest.mark.parametrize(
    ("change", "reason", "complete"),
    [
        ({"bbox": [1, 2, 0, 5]}, "has no size", ALL - {"helmet-on"}),
        ({"bbox": [1, 2, -3, 5]}, "has no size", ALL - {"helmet-on"}),
        ({"bbox": [60, 2, 10, 5]}, "sticks out", ALL - {"helmet-on"}),
        ({"bbox": [1, 2, 3]}, "expected x, y, width and height", ALL - {"helmet-on"}),
        ({"bbox": [1, 2, float("nan"), 3]}, "bbox[2]: expected a number", ALL - {"helmet-on"}),
        ({"bbox": [1, 2, 10**400, 3]}, "bbox[2]: expected a number", ALL - {"helmet-on"}),
        ({"bbox": "x"}, "bbox: expected a list", ALL - {"helmet-on"}),
        ({"iscrowd": 5}, "iscrowd", ALL - {"helmet-on"}),
        ({"category_id": 77}, "unknown category 77", frozenset()),
        ({"category_id": None}, "category_id: missing", frozenset()),
        ({"image_id": 99}, "unknown image 99", ALL),
        ({"image_id": "7"}, "image_id: expected a whole number", ALL),
    ],
)
def test_a_wrong_annotation_is_left_out_and_named(
    data: Path, change: dict[str, Any], reason: str, complete: frozenset[str]
) -> None:
    found = read(data, document(mark(category_id=0), mark(**change)))
    (problem,) = found.problems
    assert problem.item == "annotations[1]"
    assert reason in problem.reason
    assert found.pictures[0].boxes == (LabelBox("person", (1, 2, 11, 22)),)
    assert found.pictures[0].complete == complete


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"file_name": "none.jpg"}, "no such picture"),
        ({"file_name": "../a.jpg"}, "must be named relative"),
        ({"file_name": "/etc/passwd"}, "must be named relative"),
        ({"file_name": "x" * 5000}, "File name too long"),
        ({"file_name": "\ud800"}, "picture"),
        ({"file_name": "a\0.jpg"}, "cannot hold a NUL"),
        ({"file_name": ""}, "file_name: expected"),
        ({"width": 65}, "width 65 is not that of the picture, 64"),
        ({"height": 0}, "height: expected"),
        ({"id": True}, "id: expected"),
        ({"id": 8}, "was given before"),
    ],
)
def test_a_wrong_image_is_left_out_with_its_annotations(data: Path, image: dict[str, Any], reason: str) -> None:
    content = document()
    content["images"] = [content["images"][1], {**content["images"][0], **image}]
    content["annotations"] = [mark()] if "id" not in image else []
    found = read(data, content)
    (problem,) = found.problems
    assert problem.item == "images[1]"
    assert reason in problem.reason
    assert [picture.path.name for picture in found.pictures] == ["c.bmp"]


def test_one_picture_under_two_ids_counts_once(data: Path) -> None:
    content = document()
    content["images"].append({"id": 9, "file_name": "./a.jpg"})
    found = read(data, content)
    assert len(found.pictures) == 2
    assert "was named before" in found.problems[0].reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no JSON"),
        ('{"images": [],\n  oops', "no JSON: Expecting property name"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "no COCO document"),
        ('{"images": {}, "annotations": [], "categories": []}', "no COCO document"),
        ('{"images": [1], "annotations": [null], "categories": ["x"]}', "expected an object"),
    ],
)
def test_what_is_no_coco_file_is_said(data: Path, content: str, reason: str) -> None:
    found = read(data, content)
    assert found.pictures == ()
    assert reason in found.problems[0].reason


def test_names_from_a_file_cannot_break_lines_or_command_the_terminal(data: Path) -> None:
    content = document()
    content["images"][0]["file_name"] = "a\n/x:1: all well\x1b[2J.jpg"
    (problem,) = read(data, content).problems
    assert str(problem).isprintable()
    assert "\\n/x:1: all well\\x1b[2J" in str(problem)


def test_the_line_of_a_json_error_is_named(data: Path) -> None:
    (problem,) = read(data, '{"images": [],\n  oops').problems
    assert str(problem).startswith(f"{data / 'labels.json'}:2: ")


def test_a_missing_file_is_an_error_of_its_own(data: Path) -> None:
    with pytest.raises(SourceMissing):
        read_coco(data / "none.json")
