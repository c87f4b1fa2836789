# SPDX-License-Identifier: Apache-2.0
"""Heads with a point and no box; the detector is a stand-in that says what it is told, since geometry is at stake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.contract import Detection
from helmet_agent.errors import UsageError
from helmet_cloud.labels import LabelBox, LabelledPicture
from helmet_cloud.training.missing_heads import HeadPoint, complete_heads, read_head_points, without_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.contract import Box

WIDTH, HEIGHT = 800, 600


class Seer:
    """Sees the same things in every whole picture, and others in every close-up."""

    def __init__(self, whole: Sequence[Detection] = (), close: Sequence[Detection] = ()) -> None:
        self.whole, self.close = tuple(whole), tuple(close)

    def prepare(self, frame: Any, _into: Any = None) -> Any:
        return frame

    def infer(self, prepared: Any, *, min_score: float | None = None) -> tuple[Detection, ...]:
        assert min_score is not None
        seen = self.whole if prepared.shape[:2] == (HEIGHT, WIDTH) else self.close
        return tuple(found for found in seen if found.score >= min_score)


@pytest.fixture
def picture(tmp_path: Path) -> LabelledPicture:
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return LabelledPicture(path, WIDTH, HEIGHT, (LabelBox("helmet-on", (100.0, 100.0, 140.0, 150.0)),))


def complete(picture: LabelledPicture, points: list[HeadPoint], seer: Seer) -> LabelledPicture:
    lines: list[str] = []
    (found,) = complete_heads([picture], {picture.path.name: points}, seer, lines.append)  # type: ignore[arg-type]
    assert len(lines) == 1
    return found


def bare(x: float, y: float, size: float = 20.0) -> HeadPoint:
    return HeadPoint("helmet-off", x, y, size)


def seen(box: Box, score: float = 0.4, label: str = "helmet-off") -> Detection:
    return Detection(label, score, box)


def test_a_point_in_or_beside_a_head_box_is_no_missing_head(picture: LabelledPicture) -> None:
    inside, beside, away = bare(120, 120), bare(145, 120), bare(160, 120)
    assert without_box(picture, [inside, beside, away]) == [away]


def test_a_seen_head_under_the_point_becomes_a_box_with_its_score(picture: LabelledPicture) -> None:
    box = (300.0, 300.0, 318.0, 322.0)
    found = complete(picture, [bare(309, 310)], Seer([seen(box), seen((295.0, 300.0, 315.0, 320.0), 0.2)]))
    assert found.boxes[1:] == (LabelBox("helmet-off", box),)
    assert found.boxes[1].score == 0.4
    assert found.ignore == ()


def test_a_head_seen_in_the_close_up_lies_where_it_is_in_the_whole(picture: LabelledPicture) -> None:
    # the close-up of 320x176 px begins at (140, 212)
    found = complete(picture, [bare(300, 300)], Seer(close=[seen((151.0, 80.0, 169.0, 100.0))]))
    assert found.boxes[1].box == (291.0, 292.0, 309.0, 312.0)


@pytest.mark.parametrize(
    "box",
    [(151.0, 0.5, 169.0, 100.0), (151.0, 80.0, 169.0, 175.9), (0.0, 80.0, 169.0, 100.0), (151.0, 80.0, 320.0, 99.0)],
)
def test_a_box_cut_by_the_close_up_is_not_taken(picture: LabelledPicture, box: Box) -> None:
    found = complete(picture, [bare(300, 300, 200.0)], Seer(close=[seen(box)]))
    assert len(found.boxes) == 1
    assert len(found.ignore) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        seen((300.0, 300.0, 318.0, 322.0), label="helmet-on"),
        seen((300.0, 300.0, 318.0, 322.0), score=0.04),
        seen((320.0, 300.0, 338.0, 322.0)),
        seen((260.0, 250.0, 360.0, 350.0)),
        seen((308.0, 309.0, 310.0, 311.0)),
    ],
    ids=["other kind", "too timid", "elsewhere", "too large", "too small"],
)
def test_else_the_surroundings_are_undecided_for_that_kind(picture: LabelledPicture, wrong: Detection) -> None:
    found = complete(picture, [bare(309, 310)], Seer([wrong]))
    assert len(found.boxes) == 1
    (region,) = found.ignore
    assert (region.label, region.box) == ("helmet-off", (294.0, 295.0, 324.0, 325.0))


def test_two_heads_do_not_share_one_box(picture: LabelledPicture) -> None:
    found = complete(picture, [bare(305, 310), bare(312, 310)], Seer([seen((300.0, 300.0, 318.0, 322.0))]))
    assert (len(found.boxes), len(found.ignore)) == (2, 1)


def test_pictures_without_points_stay_what_they_are(picture: LabelledPicture) -> None:
    seer: Any = Seer([seen((300.0, 300.0, 318.0, 322.0))])
    assert complete_heads([picture], {"another.png": [bare(309, 310)]}, seer, lambda _line: None) == [picture]


@given(st.floats(0, WIDTH), st.floats(0, HEIGHT), st.floats(4, 300))
def test_regions_lie_in_the_picture_and_have_an_area(x: float, y: float, size: float) -> None:
    from helmet_cloud.training.missing_heads import _around  # noqa: PLC0415 - a law of the smallest part

    x1, y1, x2, y2 = _around(bare(x, y, size), LabelledPicture(Path("one.png"), WIDTH, HEIGHT))
    assert 0 <= x1 < x2 <= WIDTH
    assert 0 <= y1 < y2 <= HEIGHT


def coco(**changes: Any) -> dict[str, Any]:
    mark = {"image_id": 7, "category_id": 2, "bbox": [10, 20, 40, 100], "keypoints": [30, 25, 2]} | changes
    kinds = [{"id": 1, "name": "helmet_on"}, {"id": 2, "name": "helmet_off"}, {"id": 3, "name": "unknown"}]
    return {"images": [{"id": 7, "file_name": "one.jpg"}], "categories": kinds, "annotations": [mark]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [HeadPoint("helmet-off", 30.0, 25.0, 30.0)]),
        ({"category_id": 1, "bbox": [10, 20, 90, 100]}, [HeadPoint("helmet-on", 30.0, 25.0, 35.0)]),
        ({"bbox": [10, 20, 1, 100]}, [HeadPoint("helmet-off", 30.0, 25.0, 4.0)]),
        ({"category_id": 3}, None),
        ({"keypoints": [30, 25, 0]}, None),
    ],
    ids=["bare", "worn", "sliver", "unknown", "not visible"],
)
def test_points_are_read_with_a_likely_size(
    tmp_path: Path, changes: dict[str, Any], expected: list[HeadPoint] | None
) -> None:
    (tmp_path / "points.json").write_text(json.dumps(coco(**changes)))
    assert read_head_points(tmp_path / "points.json").get("one.jpg") == expected


@pytest.mark.parametrize(
    "content", ["", "[]", '{"images": []}', json.dumps(coco(keypoints=[1])), json.dumps(coco(image_id=8))]
)
def test_a_file_that_has_no_points_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "points.json").write_text(content)
    with pytest.raises(UsageError, match=r"no head points there: .*points\.json"):
        read_head_points(tmp_path / "points.json")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no head points there"):
        read_head_points(tmp_path / "none.json")
