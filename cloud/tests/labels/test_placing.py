# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from helmet_agent.errors import SourceMissing, StorageError
from helmet_cloud.labels import LabelledPicture, picture_size, place_pictures, read_picture

if TYPE_CHECKING:
    from pathlib import Path


def test_copies_keep_twins_apart_and_lose_white_space(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = data / "images/deep/a.jpg"
    cv2.imwrite(str(other), np.full((9, 9, 3), 200, np.uint8))
    spaced = data / "images/two words.png"
    (data / "images/b.png").rename(spaced)
    wanted = [LabelledPicture(path, 1, 1) for path in (data / "images/a.jpg", other, spaced)]
    target = tmp_path_factory.mktemp("target")
    placed = place_pictures(wanted, target, "copy")
    names = [picture.path.name for picture in placed]
    assert names[0] == "a.jpg"
    assert names[1].startswith("a-")
    assert names[2] == "two_words.png"
    assert [p.path.read_bytes() for p in placed] == [p.path.read_bytes() for p in wanted]
    assert place_pictures(wanted, target, "copy") == placed  # a second time changes nothing
    assert len(list(target.iterdir())) == 3


def test_links_lead_to_the_originals(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("target") / "images"
    (placed,) = place_pictures([LabelledPicture(data / "images/a.jpg", 64, 48)], target, "link")
    assert placed.path.resolve() == (data / "images/a.jpg").resolve()


def test_keep_changes_nothing(data: Path) -> None:
    wanted = (LabelledPicture(data / "images/a.jpg", 64, 48),)
    assert place_pictures(wanted, data / "never", "keep") == wanted
    assert not (data / "never").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(data: Path) -> None:
    with pytest.raises(StorageError, match="cannot create the folder"):
        place_pictures([LabelledPicture(data / "images/a.jpg", 64, 48)], data / "images/a.jpg" / "x", "copy")


def test_orientation_is_applied_to_size_and_pixels_alike(data: Path) -> None:
    plain = (data / "images/a.jpg").read_bytes()
    # EXIF with one entry: orientation 6, turned by a quarter
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    turned = data / "turned.jpg"
    turned.write_bytes(plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:])
    assert picture_size(turned) == (48, 64)
    assert read_picture(turned).shape == (64, 48, 3)


def test_errors_of_pictures_name_reason_and_file(data: Path) -> None:
    with pytest.raises(SourceMissing, match=r"no such picture: .*none\.jpg"):
        read_picture(data / "none.jpg")
