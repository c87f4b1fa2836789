# SPDX-License-Identifier: Apache-2.0
"""The person who labels: looks up what was drawn by hand for frames that arrived, for training passages only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from helmet_agent.durable import make_folder, write_atomic
from helmet_cloud.labels import LABELS
from helmet_demo.new_site import TRAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from helmet_cloud.labels import LabelBox
    from helmet_demo.new_site import Passage, Site


class Labeller:
    """Labels what arrived, each picture once.

    Args:
        site: the hand-drawn labels.
        file: name of the film that the camera plays.
        frames: how many frames it has; the camera counts on when it begins again.
        folder: for files to import.
        change: what to do to the labels of a picture, such as ``swapped``.

    Attributes:
        batches: files written so far.
    """

    def __init__(
        self,
        site: Site,
        file: str,
        frames: int,
        folder: Path,
        change: Callable[[Sequence[LabelBox]], Sequence[LabelBox]] = tuple,
    ) -> None:
        self._site = site
        self._file = file
        self._frames = frames
        self._folder = folder
        self._change = change
        self._done: set[str] = set()
        self.batches = 0

    @property
    def labelled(self) -> int:
        """Pictures labelled so far."""
        return len(self._done)

    def place(self, example: dict[str, Any]) -> int:
        """The frame of the film that an example shows."""
        return int(example["record"]["frame"]) % self._frames

    def passage_of(self, example: dict[str, Any], use: str = TRAIN) -> Passage | None:
        """The passage of that use that an example shows, if any."""
        place = self.place(example)
        return next((one for one in self._site.of(use) if one.clip.file == self._file and place in one), None)

    def write_batch(self, examples: Iterable[dict[str, Any]]) -> Path | None:
        """Writes the labels of new examples of training passages in Sedna's text format; None when there are none.

        Pictures are named by their digest, by which the hub knows them.

        Raises:
            StorageError: the file cannot be written.
        """
        lines = []
        for example in examples:
            passage = self.passage_of(example)
            sha256 = str(example["record"]["sha256"])
            if passage is not None and sha256 not in self._done:
                self._done.add(sha256)
                lines.append(line_of(sha256, self._change(passage.boxes(self.place(example)))))
        if not lines:
            return None
        self.batches += 1
        make_folder(self._folder)
        path = self._folder / f"batch-{self.batches}.txt"
        write_atomic(path, "".join(lines).encode())
        return path


def swapped(marks: Sequence[LabelBox]) -> tuple[LabelBox, ...]:
    """The labels of somebody who takes bare heads for hats and hats for bare heads."""
    other = {"helmet-on": "helmet-off", "helmet-off": "helmet-on"}
    return tuple(replace(mark, label=other.get(mark.label, mark.label)) for mark in marks)


def line_of(sha256: str, marks: Sequence[LabelBox]) -> str:
    """A picture's line in Sedna's text format, corners in whole pixels."""
    boxes = (",".join([*(f"{round(edge)}" for edge in mark.box), f"{LABELS.index(mark.label)}"]) for mark in marks)
    return " ".join([f"{sha256}.jpg", *boxes]) + "\n"
