# SPDX-License-Identifier: Apache-2.0
"""A data set on disk: real pictures of several sizes and kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"images/a.jpg": (64, 48), "images/b.png": (31, 17), "images/deep/c.bmp": (200, 100)}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``images/`` in it; width and height in SIZES."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The same in a folder of the test's own."""
    write_pictures(tmp_path)
    return tmp_path


def write_pictures(folder: Path) -> None:
    for index, (name, (width, height)) in enumerate(SIZES.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((height, width, 3), 40 * index, np.uint8))
