# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helmet_cloud.labels import ClassMap, IgnoreRegion, LabelBox, LabelledPicture, read_labelstudio, write_labelstudio

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.labels import LabelSet

# As Label Studio exports it: more fields than anybody asks for. The picture is 64x48.
BOX = {
    "id": "Dx_aB91ISN",
    "from_name": "label",
    "to_name": "image",
    "type": "rectanglelabels",
    "origin": "manual",
    "original_width": 64,
    "original_height": 48,
    "image_rotation": 0,
    "value": {"x": 25.0, "y": 50.0, "width": 25.0, "height": 25.0, "rotation": 0, "rectanglelabels": ["helmet-off"]},
}


def task(image: str = "/data/local-files/?d=images/a.jpg", *results: Any, **more: Any) -> dict[str, Any]:
    annotation = {"id": 1001, "completed_by": 1, "was_cancelled": False, "result": list(results), "lead_time": 4.2}
    return {"id": 1, "data": {"image": image}, "annotations": [annotation], "predictions": [], **more}


def read(folder: Path, document: Any, **options: Any) -> LabelSet:
    file = folder / "project-1.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_labelstudio(file, **options)


def test_a_box_in_percent_becomes_pixels(data: Path) -> None:
    found = read(data, [task("/data/local-files/?d=images/a.jpg", BOX)])
    assert found.problems == ()
    assert found.pictures == (
        LabelledPicture(data / "images/a.jpg", 64, 48, (LabelBox("helmet-off", (16.0, 24.0, 32.0, 36.0)),)),
    )


@pytest.mark.parametrize(
    "image",
    [
        "images/a.jpg",
        "/images/a.jpg",
        "/data/local-files/?d=images%2Fa.jpg",
        "/data/local-files/?d=site/one/images/a.jpg",
        "/data/upload/7/0123abcd-a.jpg",
        "https://labels.example.com/x/a.jpg?token=1",
        "s3://bucket/deep/a.jpg",
    ],
)
def test_the_picture_is_found_by_the_end_of_its_address(data: Path, image: str) -> None:
    found = read(data, [task(image)])
    assert [picture.path for picture in found.pictures] == [data / "images/a.jpg"]


def test_what_nobody_labelled_yet_is_counted_and_left_out(data: Path) -> None:
    skipped = task()
    skipped["annotations"][0]["was_cancelled"] = True
    suggested = {**task(), "annotations": [], "predictions": [{"result": [BOX]}]}
    found = read(data, [skipped, suggested, task("images/b.png")])
    assert found.problems == ()
    assert found.unlabelled == 2
    assert [(picture.path.name, picture.boxes) for picture in found.pictures] == [("b.png", ())]


def test_ignore_regions_and_incomplete_tasks(data: Path) -> None:
    both = {**BOX, "value": {**BOX["value"], "rectanglelabels": ["ignore", "person"]}}  # type: ignore[dict-item]
    every = {**BOX, "value": {**BOX["value"], "rectanglelabels": ["ignore"]}}  # type: ignore[dict-item]
    one = task("images/a.jpg", both, every)
    one["data"]["incomplete"] = ["person"]
    (picture,) = read(data, [one]).pictures
    box = (16.0, 24.0, 32.0, 36.0)
    assert picture.ignore == (IgnoreRegion(box, "person"), IgnoreRegion(box))
    assert picture.boxes == ()
    assert "person" not in picture.complete


def test_class_names_can_be_mapped(data: Path) -> None:
    head = {**BOX, "value": {**BOX["value"], "rectanglelabels": ["head"]}}  # type: ignore[dict-item]
    (picture,) = read(data, [task("images/a.jpg", head)], classes=ClassMap(meaning={"head": "helmet-off"})).pictures
    assert picture.boxes[0].label == "helmet-off"


def wrong(**changes: Any) -> dict[str, Any]:
    value = {**BOX["value"], **changes.pop("value", {})}  # type: ignore[dict-item]
    return task("images/a.jpg", {**BOX, "value": value, **changes})


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (wrong(type="polygonlabels"), "only rectangles with labels"),
        (wrong(original_width=640), "original_width 640 is not that of the picture, 64"),
        (wrong(value={"rotation": 30}), "a turned box"),
        (wrong(image_rotation=90), "a turned box"),
        (wrong(value={"x": -10}), "sticks out of its picture"),
        (wrong(value={"x": float("nan")}), "x: expected a number"),
        (wrong(value={"width": 0}), "has no size"),
        (wrong(value={"rectanglelabels": []}), "has no label"),
        (wrong(value={"rectanglelabels": ["vest"]}), "unknown class 'vest'"),
        (task("images/none.jpg"), "no such picture"),
        (task("../../etc/passwd"), "must be named relative to"),
        (task("/data/local-files/?d=../x.jpg"), "must be named relative to"),
        (task("a\0b"), "NUL"),
        ({"id": 1}, None),
        ({"annotations": [{"result": []}]}, "data: missing"),
        ({**task(), "annotations": task()["annotations"] * 2}, "2 annotations: delete all but the one that counts"),
        ({**task(), "data": {"image": "images/a.jpg", "incomplete": ["vest"]}}, "unknown label 'vest'"),
        ("x", "expected an object"),
    ],
)
def test_what_cannot_be_right_is_named_with_its_place(data: Path, one: Any, reason: str | None) -> None:
    found = read(data, [task("images/b.png"), one])
    assert len(found.pictures) == 1
    assert [problem.item for problem in found.problems] == ([] if reason is None else ["[1]"])
    assert all(reason in problem.reason for problem in found.problems if reason)


@pytest.mark.parametrize("text", ["", "{}", "[", "nul", "[" * 100_000, '"x"'])
def test_a_file_that_is_no_export_is_one_problem(data: Path, text: str) -> None:
    found = read(data, text)
    assert found.pictures == ()
    assert len(found.problems) == 1


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    document=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "image", "annotations", "result", "value", "type"]), inner)
        ),
        max_leaves=12,
    )
)
def test_no_document_is_more_than_a_list_of_problems(data: Path, document: Any) -> None:
    found = read(data, [document])
    assert found.pictures == ()
    assert len(found.problems) + found.unlabelled == 1


def test_suggestions_are_predictions_with_their_scores_and_are_not_taken_for_labels(data: Path) -> None:
    mark = LabelBox("helmet-on", (16.0, 24.0, 32.0, 36.0), score=0.4)
    target = data / "tasks.json"
    assert write_labelstudio(target, [LabelledPicture(data / "images/a.jpg", 64, 48, (mark,))], suggested=True) == ()
    (one,) = json.loads(target.read_text())
    assert one["data"] == {"image": "/data/local-files/?d=images/a.jpg"}
    assert "annotations" not in one
    (result,) = one["predictions"][0]["result"]
    assert result["score"] == 0.4
    assert (result["from_name"], result["to_name"], result["original_width"]) == ("label", "image", 64)
    assert result["value"]["rectanglelabels"] == ["helmet-on"]
    found = read_labelstudio(target)
    assert (found.pictures, found.unlabelled) == ((), 1)
    configuration = (data / "tasks.xml").read_text()
    assert '<RectangleLabels name="label" toName="image"' in configuration
    assert '<Label value="helmet-off"/>' in configuration
