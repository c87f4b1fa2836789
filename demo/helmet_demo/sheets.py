# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: many small frames with their labels drawn in, so that a person can judge the labels at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from helmet_agent.durable import write_atomic
from helmet_demo.frames import read_frames, scaled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_agent.ports import BgrImage
    from helmet_demo.new_site import Passage

COLUMNS, CELL_WIDTH, CELL_HEIGHT = 8, 240, 135
QUALITY = 82
COLOURS = {"person": (80, 200, 80), "helmet-on": (255, 120, 0), "helmet-off": (40, 40, 255)}
_INK, _SHADE = (255, 255, 255), (0, 0, 0)


def write_sheet(path: Path, chosen: Sequence[tuple[Passage, int]]) -> None:
    """Writes the chosen frames, eight in a row, as one JPEG.

    Raises:
        SourceMissing: a clip is missing.
        StorageError: the file cannot be written.
    """
    cells = []
    for file in sorted({passage.clip.file for passage, _ in chosen}):
        frames = {frame: passage for passage, frame in chosen if passage.clip.file == file}
        cells += [_cell(image, frames[number], number) for number, image in read_frames(file, frames)]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % COLUMNS)
    rows = [np.hstack(cells[first : first + COLUMNS]) for first in range(0, len(cells), COLUMNS)]
    _, content = cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    write_atomic(path, content.tobytes(), mode=0o644)


def _cell(image: BgrImage, passage: Passage, frame: int) -> BgrImage:
    cell = cv2.resize(image, (CELL_WIDTH, CELL_HEIGHT), interpolation=cv2.INTER_AREA)
    for mark in passage.boxes(frame):
        x1, y1, x2, y2 = (round(edge) for edge in scaled(mark, CELL_WIDTH / image.shape[1]).box)
        cv2.rectangle(cell, (x1, y1), (x2 - 1, y2 - 1), COLOURS[mark.label], 1)
    drawn = frame in {key.frame for key in passage.keys}
    text = f"{frame}{' drawn' if drawn else ''}"
    for colour, thick in ((_SHADE, 3), (_INK, 1)):
        cv2.putText(cell, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thick, cv2.LINE_AA)
    return cell.astype(np.uint8)
