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
    from helmet_demo.new_site import Clip, Passage, Site


AFTERWARDS_FRAMES = 10
"""A passage's examples have arrived when the film is so far beyond its end."""

PATIENCE_FRAMES = 100
"""So much later they are labelled although some have not been sent yet."""


class Labeller:
    """Labels what arrived, each picture once, whenever a passage has gone by.

    Args:
        site: the hand-drawn labels.
        clip: the film that the camera plays; the camera counts on when it begins again.
        folder: for files to import.
        change: what to do to the labels of a picture, such as ``swapped``.

    Attributes:
        batches: files written so far.
    """

    def __init__(
        self,
        site: Site,
        clip: Clip,
        folder: Path,
        change: Callable[[Sequence[LabelBox]], Sequence[LabelBox]] = tuple,
    ) -> None:
        self._clip = clip
        self._passages = [one for one in site.of(TRAIN) if one.clip == clip]
        self._passed = 0
        self._folder = folder
        self._change = change
        self._done: set[str] = set()
        self.batches = 0

    @property
    def complete(self) -> bool:
        """Whether every passage has gone by once."""
        return self._passed >= len(self._passages)

    @property
    def done(self) -> str:
        """In words what was labelled so far."""
        return f"{self.labelled} pictures in {self.batches} imports, drawn by hand"

    @property
    def labelled(self) -> int:
        """Pictures labelled so far."""
        return len(self._done)

    def arrived(self, examples: Sequence[dict[str, Any]]) -> str:
        """In words what has arrived."""
        return f"{sum(self.passage_of(one) is not None for one in examples)} of passages that may be labelled"

    def due(self, status: dict[str, Any], examples: Sequence[dict[str, Any]]) -> bool:  # noqa: ARG002 - of the loop
        """Whether the next passage has gone by, and its examples have been sent.

        When the film begins again, what was missed the first time is caught.
        """
        frames = max((int(source["frames_read"]) for source in status["sources"]), default=0)
        passage, times = self._passages[self._passed % len(self._passages)], self._passed // len(self._passages)
        beyond = times * self._clip.frames + passage.last + AFTERWARDS_FRAMES
        pending = int((status.get("spool") or {}).get("pending", 0))
        over = frames > beyond and (pending == 0 or frames > beyond + PATIENCE_FRAMES)
        self._passed += over
        return over

    def place(self, example: dict[str, Any]) -> int:
        """The frame of the film that an example shows."""
        return int(example["record"]["frame"]) % self._clip.frames

    def passage_of(self, example: dict[str, Any]) -> Passage | None:
        """The training passage that an example shows, if any."""
        place = self.place(example)
        return next((one for one in self._passages if place in one), None)

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
