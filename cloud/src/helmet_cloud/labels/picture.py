# SPDX-License-Identifier: Apache-2.0
"""Pictures as labels see them: read by OpenCV, orientation applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from helmet_agent.errors import SourceMissing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
"""Endings, in lower case, by which a folder's pictures are told from its other files."""

MAX_PICTURE_BYTES = 256 << 20


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The picture as ``(height, width, 3)`` uint8, BGR, turned as its EXIF orientation says.

    Raises:
        SourceMissing: no such file, not a picture, or cut off; the message names the reason, then the file.
    """
    return _decode(path, cv2.IMREAD_COLOR)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, as ``read_picture`` would give them.

    Decodes the whole picture (in grey, which is cheaper): only then is it certain that training can read it too.

    Raises:
        SourceMissing: as ``read_picture``.
    """
    height, width = _decode(path, cv2.IMREAD_GRAYSCALE).shape[:2]
    return width, height


def _decode(path: Path, flags: int) -> NDArray[np.uint8]:
    try:
        if not path.is_file():  # a device or a pipe would block for ever
            raise SourceMissing(f"no such picture: {path}")
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise SourceMissing(f"picture is larger than {MAX_PICTURE_BYTES >> 20} MiB: {path}")
        content = np.fromfile(path, np.uint8)
        picture = cv2.imdecode(content, flags) if len(content) else None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceMissing(f"picture cannot be read ({reason}): {path}") from error
    except cv2.error as error:
        raise SourceMissing(f"not a picture that can be read: {path}") from error
    if picture is None:
        raise SourceMissing(f"not a picture, or cut off: {path}")
    return np.asarray(picture, np.uint8)
