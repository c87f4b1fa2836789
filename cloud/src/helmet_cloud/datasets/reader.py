# SPDX-License-Identifier: Apache-2.0
"""Reads Dataset files again and again, and does the work once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.errors import SourceMissing
from helmet_cloud.datasets.pictures import Pictures
from helmet_cloud.datasets.reading import Reading, Sample
from helmet_cloud.datasets.table import table_lines
from helmet_cloud.labels import LABELS, read_sedna
from helmet_cloud.labels.checks import numbered_lines

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.store.database import Database

LOOKS = 400
"""Pictures looked at anew in one reading (some seconds); a data set of many new ones takes several readings."""

_Stamp = tuple[int, int, int]


class DatasetReader:
    """Readings of data sets, kept while nothing changes. For one thread.

    Args:
        database: keeps what was found in the pictures.
        looks: how many new pictures one reading looks at.
    """

    def __init__(self, database: Database, looks: int = LOOKS) -> None:
        self._database = database
        self._looks = looks
        self._last: dict[Path, tuple[_Stamp, Reading]] = {}

    def read(self, file: Path, kind: str = "txt", *, again: bool = False) -> Reading:
        """Reads a Dataset's file.

        Args:
            file: on this machine.
            kind: ``txt`` or ``csv``.
            again: also look whether every picture is still there, although the file itself did not change.
        """
        try:
            stat = file.stat()
        except (OSError, ValueError) as error:
            self._last.pop(file, None)
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return Reading(file, missing=f"the data set's file cannot be read ({reason}): {file}")
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        last = self._last.get(file)
        # What was wrong may have been mended without a change of the file: a picture that came later.
        if last is not None and last[0] == stamp and not again and not last[1].problems and not last[1].waiting:
            return last[1]
        try:
            reading = self._read(file, kind, stat.st_mtime)
        except SourceMissing as error:
            return Reading(file, missing=str(error))
        self._last[file] = (stamp, reading)
        return reading

    def _read(self, file: Path, kind: str, changed_seconds: float) -> Reading:
        pictures = Pictures(self._database, str(file), self._looks)
        found = read_sedna(
            file, lines=table_lines if kind == "csv" else numbered_lines, look=pictures.size, root=file.parent
        )
        pictures.keep()
        samples: dict[str, Sample] = {}
        for picture in found.pictures:
            sha256 = pictures.sha256(picture.path)
            if sha256 not in samples:
                name = picture.path.relative_to(file.parent).as_posix()
                samples[sha256] = Sample(sha256, picture.path, name, labels_text(picture))
        return Reading(
            file,
            tuple(samples.values()),
            tuple(str(one) for one in found.problems if one.reason != "not looked at yet"),
            len(found.pictures) - len(samples),
            pictures.waiting,
            None,
            changed_seconds,
        )


def labels_text(picture: LabelledPicture) -> str:
    """The boxes of a picture as a Sedna line has them, sorted."""
    boxes = ((*(round(edge) for edge in one.box), LABELS.index(one.label)) for one in picture.boxes)
    return " ".join(",".join(map(str, box)) for box in sorted(boxes))
