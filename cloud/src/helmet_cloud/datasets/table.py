# SPDX-License-Identifier: Apache-2.0
"""A csv Dataset as lines of Sedna's text format: row 1 is the header, cell 1 the picture, the others its boxes.

A cell may hold one box or several, separated by white space; since boxes hold commas, such cells are quoted::

    image,labels
    images/a.jpg,"10,20,30,40,2 50,60,70,80,3"
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from helmet_cloud.labels.checks import Unfit, numbered_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def table_lines(file: Path) -> Iterator[tuple[int, str | Unfit]]:
    """The rows after the header, numbered by line as the file has them; a row is one line.

    Raises:
        SourceMissing: the file cannot be opened or read.
    """
    lines = numbered_lines(file)
    next(lines, None)
    for number, text in lines:
        if isinstance(text, Unfit):
            yield number, text
            continue
        try:
            cells = next(csv.reader([text], strict=True), [])
        except csv.Error as error:
            yield number, Unfit(f"no row of a csv table: {error}")
            continue
        if cells and cells[0].split() != [cells[0].strip()]:
            yield number, Unfit("the first cell must name a picture, without white space")
            continue
        joined = " ".join(cell.strip() for cell in cells if cell.strip())
        if joined:
            yield number, joined
