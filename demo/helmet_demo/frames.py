# SPDX-License-Identifier: Apache-2.0
"""Frames of the clips that come with the agent, as labelled JPEG files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2

from helmet_agent.durable import make_folder, write_atomic
from helmet_agent.errors import SourceMissing
from helmet_agent.vision.mining import NearDuplicates, dhash
from helmet_cloud.labels import LabelBox, LabelledPicture, write_sedna

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from helmet_agent.ports import BgrImage
    from helmet_demo.new_site import Clip, Passage

DATA_FILE = "data.txt"


def clip_path(file: str) -> Path:
    """Where a clip of that name lies."""
    return Path(str(resources.files("helmet_agent"))) / "assets" / "clips" / file


def read_frames(file: str, wanted: Iterable[int]) -> Iterator[tuple[int, BgrImage]]:
    """The wanted frames of a clip with their numbers, in order.

    Raises:
        SourceMissing: the clip is missing or ends too early.
    """
    left = set(wanted)
    capture = cv2.VideoCapture(str(clip_path(file)))
    try:
        number = 0
        while left:
            there, image = capture.read()
            if not there:
                raise SourceMissing(f"{file}: it has no frame {min(left)}")
            if number in left:
                left.remove(number)
                yield number, cast("BgrImage", image)
            number += 1
    finally:
        capture.release()


def distinct_frames(clip: Clip) -> list[int]:
    """The frames of a clip that do not look exactly like one before, as the agent will find them in its first pass.

    Raises:
        SourceMissing: the clip is missing or shorter than it should be.
    """
    kept, found = NearDuplicates(limit=0), []  # the clip is shorter than its memory in seconds
    for number, image in read_frames(clip.file, range(clip.frames)):
        digest = dhash(image)
        if not kept.seen(clip.name, digest, 0.0):
            kept.remember(clip.name, digest, 0.0)
            found.append(number)
    return found


def write_pictures(
    folder: Path, chosen: Sequence[tuple[Passage, int]], *, width: int | None = None, quality: int = 92
) -> list[LabelledPicture]:
    """Writes ``images/*.jpg`` and ``data.txt`` (Sedna's text format) into a folder.

    Args:
        folder: made when it is not there.
        chosen: passages and frames of them.
        width: pictures wider than this are scaled down to it.
        quality: of the JPEGs, 0 to 100.

    Raises:
        SourceMissing: a clip is missing.
        StorageError: the folder cannot be written.
    """
    make_folder(folder / "images")
    pictures = []
    for file in sorted({passage.clip.file for passage, _ in chosen}):
        frames = {frame: passage for passage, frame in chosen if passage.clip.file == file}
        for number, image in read_frames(file, frames):
            passage = frames[number]
            path = folder / "images" / f"{passage.clip.name}_{number:04d}.jpg".replace("-", "_")
            scale = 1.0 if width is None else min(1.0, width / image.shape[1])
            small = image if scale == 1.0 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            _, content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
            write_atomic(path, content.tobytes(), mode=0o644)
            boxes = tuple(scaled(box, scale) for box in passage.boxes(number))
            pictures.append(LabelledPicture(path, small.shape[1], small.shape[0], boxes))
    for problem in write_sedna(folder / DATA_FILE, pictures):
        raise ValueError(str(problem))
    return pictures


def scaled(box: LabelBox, scale: float) -> LabelBox:
    """The box in a picture of another size."""
    x1, y1, x2, y2 = (edge * scale for edge in box.box)
    return LabelBox(box.label, (x1, y1, x2, y2))
