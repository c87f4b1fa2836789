# SPDX-License-Identifier: Apache-2.0
"""What a reading of a Dataset's file found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = 3
"""Problems that a message names; the others are counted."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled picture.

    Attributes:
        sha256: of the picture's bytes; the sample's identity.
        path: of the picture on this machine.
        name: its path as the data set's file names it.
        labels: its boxes as a Sedna line has them, sorted, so that equal labels are equal texts; may be empty.
    """

    sha256: str
    path: Path
    name: str
    labels: str


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a Dataset's file says.

    Attributes:
        file: on this machine.
        samples: valid and distinct, in the file's order.
        problems: one line each: what was left out, with line and reason.
        duplicates: lines that name a picture which an earlier line holds already, by content.
        waiting: pictures that were not looked at yet; until there are none, the samples are not all there.
        missing: why there is no file to read; None when there is one.
        changed_seconds: when the file was changed, Unix time; 0 when it is missing.
    """

    file: Path
    samples: tuple[Sample, ...] = ()
    problems: tuple[str, ...] = ()
    duplicates: int = 0
    waiting: int = 0
    missing: str | None = None
    changed_seconds: float = 0.0

    @property
    def remark(self) -> str | None:
        """What is wrong with the data set, in one line; None when nothing is."""
        if self.missing is not None:
            return self.missing
        parts = []
        if self.waiting:
            parts.append(f"{self.waiting} new pictures are still to be looked at")
        if self.problems:
            named = "; ".join(self.problems[:SHOWN])
            more = f"; and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
            parts.append(f"{len(self.problems)} lines are left out: {named}{more}")
        if self.duplicates:
            parts.append(f"{self.duplicates} lines repeat a picture and count once")
        return "; ".join(parts) or None
