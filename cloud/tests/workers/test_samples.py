# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmet_agent.errors import SourceMissing, UsageError
from helmet_cloud.labels import LabelBox, LabelledPicture
from helmet_cloud.workers.groups import GROUPS, groups_text
from helmet_cloud.workers.parameters import Parameters
from helmet_cloud.workers.samples import read_samples, set_aside, without_unmarked


def draw(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    return path


def silent(line: str) -> None:
    raise AssertionError(line)


def picture(name: str, *labels: str) -> LabelledPicture:
    return LabelledPicture(Path(name), 64, 48, tuple(LabelBox(label, (1.0, 1.0, 9.0, 9.0)) for label in labels))


def test_names_may_be_relative_to_the_file_or_absolute(tmp_path: Path) -> None:
    draw(tmp_path / "set/images/a.png")
    other = draw(tmp_path / "elsewhere/b.png")
    file = tmp_path / "set/data.txt"
    file.write_text(f"images/a.png 1,2,30,40,3\n{other} 1,2,30,40,2\n")
    found = read_samples(file, Parameters(), silent)
    assert [one.path for one in found] == [tmp_path / "set/images/a.png", other]
    assert [one.boxes[0].label for one in found] == ["helmet-off", "helmet-on"]


def test_ids_mean_what_class_names_says(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "data.txt").write_text("a.png 1,2,30,40,0\n")
    (found,) = read_samples(tmp_path / "data.txt", Parameters(class_names=("helmet-off", "helmet-on")), silent)
    assert [mark.label for mark in found.boxes] == ["helmet-off"]
    assert found.complete == {"helmet-on", "helmet-off"}


def test_coco_says_by_picture_what_it_is_complete_for(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    document = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 64, "height": 48, "not_exhaustive_category_ids": [1]},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "helmet-on"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 10, 10]}],
    }
    (tmp_path / "old.json").write_text(json.dumps(document))
    (found,) = read_samples(tmp_path / "old.json", Parameters(), silent)
    assert "person" not in found.complete
    assert "helmet-on" in found.complete


def test_vanished_picture_is_told_and_left_out(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "data.txt").write_text("a.png\ngone.png 1,2,3,4,0\n")
    lines: list[str] = []
    assert len(read_samples(tmp_path / "data.txt", Parameters(), lines.append)) == 1
    assert "no such picture" in lines[0]


def test_nothing_left_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("gone.png\n")
    with pytest.raises(UsageError, match="no labelled picture"):
        read_samples(tmp_path / "data.txt", Parameters(), lambda _line: None)
    with pytest.raises(SourceMissing):
        read_samples(tmp_path / "missing.txt", Parameters(), silent)


def test_neighbouring_frames_stay_on_one_side() -> None:
    pictures = [picture(f"cam{camera}_{number:05d}.jpg") for camera in range(8) for number in range(0, 500, 5)]
    trained, kept = set_aside(pictures)
    assert sorted(map(str, (one.path for one in trained + kept))) == sorted(str(one.path) for one in pictures)
    assert 0.03 * len(pictures) < len(kept) < 0.35 * len(pictures)

    def groups(side: list[LabelledPicture]) -> set[tuple[str, int]]:
        return {(one.path.stem[:4], int(one.path.stem[5:]) // 50) for one in side}

    assert groups(trained).isdisjoint(groups(kept))


def test_links_by_digest_are_grouped_by_what_they_point_to(tmp_path: Path) -> None:
    plain, linked = [], []
    for number in range(0, 1000, 5):
        target = tmp_path / f"cam_{number:05d}.jpg"
        target.touch()
        link = tmp_path / f"{number * 7919 % 1000:03d}{number:04x}.jpg"
        link.symlink_to(target)
        plain.append(picture(str(target)))
        linked.append(picture(str(link)))
    sides = [[one.path.resolve() for one in side] for side in set_aside(linked)]
    assert sides == [[one.path for one in side] for side in set_aside(plain)]


def test_what_the_hub_says_of_neighbours_goes_before_names(tmp_path: Path) -> None:
    """Examples are named by their digest; the frames of a camera's ten seconds stay together all the same."""
    names = [f"{hashlib.sha256(str(number).encode()).hexdigest()}.jpg" for number in range(400)]
    groups = {name: f"gate {number // 10}" for number, name in enumerate(names)}
    (tmp_path / "images").mkdir()
    pictures = [picture(str(tmp_path / "images" / name)) for name in groups]
    (tmp_path / GROUPS).write_text(groups_text(groups))
    trained, kept = ({groups[one.path.name] for one in side} for side in set_aside(pictures))
    assert trained.isdisjoint(kept)
    assert 1 <= len(kept) <= 15
    (tmp_path / GROUPS).write_text("[1, 2")
    trained, kept = ({groups[one.path.name] for one in side} for side in set_aside(pictures))
    assert not trained.isdisjoint(kept), "names alone do not tell"


def test_too_few_to_choose_by_means_that_all_train() -> None:
    pictures = [picture(f"cam{number}_1.jpg") for number in range(3)]
    assert set_aside(pictures) == (pictures, [])


def test_class_that_nobody_marked_is_not_learned_as_absent() -> None:
    found = without_unmarked([picture("a.jpg", "person"), picture("b.jpg", "helmet-on")])
    assert [one.complete for one in found] == [{"person", "helmet-on"}] * 2
