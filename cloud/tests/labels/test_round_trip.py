# SPDX-License-Identifier: Apache-2.0
"""What a format can carry survives being written and read again."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_cloud.labels import (
    LABELS,
    IgnoreRegion,
    LabelBox,
    LabelFormat,
    LabelledPicture,
    LabelSet,
    read_labels,
    write_labels,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES = {"images/a.jpg": (64, 48), "images/b.png": (31, 17), "images/deep/c.bmp": (200, 100)}
Box = tuple[float, float, float, float]


def whole(size: tuple[int, int]) -> st.SearchStrategy[Box]:
    return st.tuples(
        *(
            st.integers(0, side - 1).flatmap(lambda a, s=side: st.tuples(st.just(a), st.integers(a + 1, s)))
            for side in size
        )
    ).map(lambda xy: (float(xy[0][0]), float(xy[1][0]), float(xy[0][1]), float(xy[1][1])))


def fractional(size: tuple[int, int]) -> st.SearchStrategy[Box]:
    def span(side: int) -> st.SearchStrategy[tuple[float, float]]:
        return st.floats(0, side - 0.5).flatmap(lambda a: st.tuples(st.just(a), st.floats(a + 0.25, side)))

    return st.tuples(span(size[0]), span(size[1])).map(lambda xy: (xy[0][0], xy[1][0], xy[0][1], xy[1][1]))


def sets(
    boxes: Callable[[tuple[int, int]], st.SearchStrategy[Box]], *, everything: bool
) -> st.SearchStrategy[list[LabelledPicture]]:
    label = st.sampled_from(LABELS)

    def one(name: str) -> st.SearchStrategy[LabelledPicture]:
        box = boxes(SIZES[name])
        return st.builds(
            LabelledPicture,
            st.just(Path(name)),
            st.just(SIZES[name][0]),
            st.just(SIZES[name][1]),
            st.lists(st.builds(LabelBox, label, box), max_size=5).map(tuple),
            st.frozensets(label) if everything else st.just(frozenset(LABELS)),
            st.lists(st.builds(IgnoreRegion, box, st.none() | label), max_size=3).map(tuple)
            if everything
            else st.just(()),
        )

    # YOLO reads pictures in the order of their names
    return (
        st.lists(st.sampled_from(sorted(SIZES)), unique=True)
        .map(sorted)
        .flatmap(lambda names: st.tuples(*(one(name) for name in names)).map(list))
    )


@contextmanager
def data_set(pictures: Path, wanted: list[LabelledPicture]) -> Iterator[tuple[Path, list[LabelledPicture]]]:
    """A folder with just these pictures, and the pictures at their place in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        placed = []
        for picture in wanted:
            target = folder / picture.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pictures / picture.path, target)
            placed.append(
                LabelledPicture(target, picture.width, picture.height, picture.boxes, picture.complete, picture.ignore)
            )
        yield folder, placed


def round_trip(label_format: LabelFormat, folder: Path, wanted: list[LabelledPicture]) -> LabelSet:
    target = {"sedna": folder / "data.txt", "yolo": folder}.get(label_format, folder / "labels.json")
    assert write_labels(label_format, target, wanted) == ()
    return read_labels(label_format, target)


@settings(max_examples=25, deadline=None)
@given(wanted=sets(whole, everything=False))
def test_sedna_carries_whole_pixels_exactly(pictures: Path, wanted: list[LabelledPicture]) -> None:
    with data_set(pictures, wanted) as (folder, placed):
        found = round_trip(LabelFormat.SEDNA, folder, placed)
        assert found.problems == ()
        assert list(found.pictures) == placed


@settings(max_examples=25, deadline=None)
@given(wanted=sets(fractional, everything=False))
def test_sedna_rounds_to_the_nearest_pixel_and_keeps_every_box(pictures: Path, wanted: list[LabelledPicture]) -> None:
    with data_set(pictures, wanted) as (folder, placed):
        found = round_trip(LabelFormat.SEDNA, folder, placed)
        assert found.problems == ()
        for picture, before in zip(found.pictures, placed, strict=True):
            for box, old in zip(picture.boxes, before.boxes, strict=True):
                assert box.label == old.label
                assert all(abs(a - b) < 1 for a, b in zip(box.box, old.box, strict=True))


@pytest.mark.parametrize("label_format", [LabelFormat.YOLO, LabelFormat.COCO, LabelFormat.LABELSTUDIO])
@settings(max_examples=25, deadline=None)
@given(wanted=sets(fractional, everything=False))
def test_the_others_carry_fractions_of_a_pixel(
    pictures: Path, label_format: LabelFormat, wanted: list[LabelledPicture]
) -> None:
    with data_set(pictures, wanted) as (folder, placed):
        found = round_trip(label_format, folder, placed)
        assert found.problems == ()
        assert [p.path for p in found.pictures] == [p.path for p in placed]
        for picture, before in zip(found.pictures, placed, strict=True):
            assert picture.complete == before.complete
            for box, old in zip(picture.boxes, before.boxes, strict=True):
                assert box.label == old.label
                assert box.box == pytest.approx(old.box, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(wanted=sets(whole, everything=True))
def test_coco_carries_everything(pictures: Path, wanted: list[LabelledPicture]) -> None:
    with data_set(pictures, wanted) as (folder, placed):
        found = round_trip(LabelFormat.COCO, folder, placed)
        assert found.problems == ()
        assert list(found.pictures) == placed


@settings(max_examples=25, deadline=None)
@given(wanted=sets(whole, everything=True))
def test_label_studio_carries_everything(pictures: Path, wanted: list[LabelledPicture]) -> None:
    with data_set(pictures, wanted) as (folder, placed):
        found = round_trip(LabelFormat.LABELSTUDIO, folder, placed)
        assert found.problems == ()
        assert found.unlabelled == 0
        for picture, before in zip(found.pictures, placed, strict=True):
            assert (picture.path, picture.complete) == (before.path, before.complete)
            marks = [(mark.label, mark.box) for mark in (*picture.boxes, *picture.ignore)]
            wanted_marks = [(mark.label, mark.box) for mark in (*before.boxes, *before.ignore)]
            assert [label for label, _ in marks] == [label for label, _ in wanted_marks]
            for (_, box), (_, old) in zip(marks, wanted_marks, strict=True):
                assert box == pytest.approx(old, abs=1e-6)


def test_a_second_write_replaces_the_first_whole(data: Path) -> None:
    mark = LabelBox("person", (1.0, 2.0, 9.0, 12.0))
    full = LabelledPicture(data / "images/a.jpg", 64, 48, (mark,) * 50)
    for label_format, target in (("sedna", data / "data.txt"), ("yolo", data), ("coco", data / "c.json")):
        write_labels(LabelFormat(label_format), target, [full])
        write_labels(LabelFormat(label_format), target, [LabelledPicture(full.path, 64, 48)])
        found = read_labels(LabelFormat(label_format), target)
        assert found.pictures[0].boxes == ()
    assert not [path for path in data.rglob("*") if path.name.startswith(".tmp")]


@pytest.mark.parametrize("label_format", ["sedna", "yolo"])
def test_what_a_format_cannot_carry_is_said(data: Path, label_format: str) -> None:
    picture = LabelledPicture(
        data / "images/a.jpg", 64, 48, (), frozenset({"helmet-on"}), (IgnoreRegion((0.0, 0.0, 9.0, 9.0)),)
    )
    target = data / "data.txt" if label_format == "sedna" else data
    reasons = [problem.reason for problem in write_labels(LabelFormat(label_format), target, [picture])]
    name = "Sedna's text format" if label_format == "sedna" else "YOLO's text format"
    assert [reason.split(":")[0] for reason in reasons] == [
        "1 ignore regions are lost",
        f"1 pictures are not completely labelled, which {name} cannot say",
    ]


@pytest.mark.parametrize("label_format", list(LabelFormat))
def test_a_picture_outside_the_data_set_or_of_another_class_is_left_out_and_named(
    data: Path, tmp_path_factory: pytest.TempPathFactory, label_format: LabelFormat
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.jpg"
    vest = LabelledPicture(data / "images/b.png", 31, 17, (LabelBox("vest", (1.0, 1.0, 2.0, 2.0)),))
    good = LabelledPicture(data / "images/a.jpg", 64, 48)
    json_file = data / "labels.json"
    target = {"sedna": data / "data.txt", "yolo": data, "coco": json_file, "labelstudio": json_file}[label_format]
    problems = write_labels(label_format, target, [LabelledPicture(elsewhere, 64, 48), vest, good])
    assert [problem.file for problem in problems] == [elsewhere, vest.path]
    assert "lies outside of" in problems[0].reason
    assert "unknown class 'vest'" in problems[1].reason
    assert good.path in [picture.path for picture in read_labels(label_format, target).pictures]


def test_white_space_in_a_path_is_refused_by_sedna_and_carried_by_the_others(data: Path) -> None:
    spaced = data / "images" / "two words.jpg"
    (data / "images/a.jpg").rename(spaced)
    picture = LabelledPicture(spaced, 64, 48, (LabelBox("person", (1.0, 2.0, 9.0, 12.0)),))
    (problem,) = write_labels(LabelFormat.SEDNA, data / "data.txt", [picture])
    assert "white space" in problem.reason
    assert (data / "data.txt").read_text() == ""
    for label_format, target in ((LabelFormat.YOLO, data), (LabelFormat.COCO, data / "labels.json")):
        assert write_labels(label_format, target, [picture]) == ()
        found = {one.path: one for one in read_labels(label_format, target).pictures}[spaced]
        assert found.boxes[0].box == pytest.approx(picture.boxes[0].box)


def test_two_pictures_that_would_share_a_yolo_file_are_reported(data: Path) -> None:
    twin = data / "images" / "a.png"
    (data / "images/b.png").rename(twin)
    both = [LabelledPicture(data / "images/a.jpg", 64, 48), LabelledPicture(twin, 31, 17)]
    (problem,) = write_labels(LabelFormat.YOLO, data, both)
    assert problem.file == twin
    found = read_labels(LabelFormat.YOLO, data)
    assert [one.path.name for one in found.pictures] == ["a.jpg"]
    assert any("belongs to a.jpg and a.png alike" in one.reason for one in found.problems)
