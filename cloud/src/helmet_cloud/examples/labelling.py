# SPDX-License-Identifier: Apache-2.0
"""Brings people's labels into a data set: all of them or, with a line for each reason, none.

Steps, each of which may be the last one before a crash, and all of which may be done again: pictures are put into the
data set's folder, the data set's file is replaced by one with the new lines, examples are noted as used.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helmet_agent.durable import reported
from helmet_cloud.errors import BadRequest
from helmet_cloud.examples.dataset_file import DatasetFile, Datasets, open_dataset
from helmet_cloud.examples.pictures import PictureFolder
from helmet_cloud.examples.placing import place
from helmet_cloud.examples.shelf import Found, HubShelf
from helmet_cloud.labels import LABELS, LabelledPicture, Unfit, sedna_line
from helmet_cloud.store.examples import use_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from helmet_cloud.labels import LabelSet, Shelf
    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database


class LabelsRefused(BadRequest):
    """Nothing was imported.

    Attributes:
        problems: one line each.
    """

    def __init__(self, problems: list[str]) -> None:
        many = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        super().__init__(f"{many} in the labels; nothing was imported")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, in pictures.

    Attributes:
        dataset: ``namespace/name``.
        file: the data set's.
        added: lines that are new.
        replaced: lines whose labels changed.
        unchanged: lines that were there.
        unlabelled: pictures that nobody has labelled yet.
    """

    dataset: str
    file: str
    added: int
    replaced: int
    unchanged: int
    unlabelled: int


@dataclass(frozen=True, slots=True)
class ImportRules:
    """What an import may do.

    Attributes:
        replace: give other labels to pictures that the data set has already.
        add_pictures: take in pictures that are none of the hub's examples.
        accept_loss: take labels with ignore regions or incomplete ones, although the data set's file cannot say so.
    """

    replace: bool = False
    add_pictures: bool = False
    accept_loss: bool = False


class Labelling:
    """Imports labels into the data sets of one hub.

    Args:
        home: of the hub.
        database: of the hub.
        datasets: where Datasets are known.
    """

    def __init__(self, home: HubHome, database: Database, datasets: Datasets) -> None:
        self._home = home
        self._database = database
        self._datasets = datasets

    def bring(
        self, namespace: str, name: str, read: Callable[[Shelf], LabelSet], rules: ImportRules, *, now: float
    ) -> Imported:
        """Imports labels into a data set; doing it twice adds nothing.

        Args:
            namespace: of the Dataset.
            name: of the Dataset.
            read: reads the labels, looking pictures up on the shelf that it is given.
            rules: what may be done.
            now: Unix time in seconds.

        Raises:
            LabelsRefused: with every reason; nothing was imported.
            NotFound: there is no such Dataset.
            BadRequest: the Dataset cannot be written to.
            StorageError: the disk refuses; what was imported before is whole.
        """
        with _alone(self._home.folder / ".labels.lock"):
            dataset = open_dataset(self._home, self._datasets, namespace, name)
            pictures = PictureFolder(self._home.pictures)
            shelf = HubShelf(self._database, pictures, dataset, add_pictures=rules.add_pictures)
            found = read(shelf)
            plan = _Plan(dataset, shelf, rules)
            for picture in found.pictures:
                plan.take(picture)
            problems = [*map(str, found.problems), *plan.problems]
            if problems:
                raise LabelsRefused(problems)
            place(plan.placing)
            if plan.lines:
                dataset.write(plan.lines)
            with self._database.write() as session:
                use_examples(session, namespace, name, plan.used, now)
        counts = plan.counts
        return Imported(
            str(dataset), str(dataset.path), counts["new"], counts["other"], counts["same"], found.unlabelled
        )


class _Plan:
    """What an import will do, before it does any of it."""

    def __init__(self, dataset: DatasetFile, shelf: HubShelf, rules: ImportRules) -> None:
        self._dataset = dataset
        self._shelf = shelf
        self._rules = rules
        self._seen: set[str] = set()
        self.problems: list[str] = []
        self.placing: dict[Path, Path] = {}
        self.lines: dict[str, str] = {}
        self.used: list[tuple[str, str, dict[str, Any]]] = []
        self.counts = {"new": 0, "same": 0, "other": 0}

    def take(self, picture: LabelledPicture) -> None:
        """Plans for one picture, or notes why not."""
        found = self._shelf.found[picture.path]
        try:
            self._take(picture, found)
        except Unfit as unfit:
            self.problems.append(f"{found.source.name}: {unfit}")

    def _take(self, picture: LabelledPicture, found: Found) -> None:
        if found.sha256 in self._seen:
            raise Unfit("labelled twice")
        self._seen.add(found.sha256)
        if not self._rules.accept_loss:
            _check_loss(picture)
        line = sedna_line(found.name, picture.boxes)
        kind = self._dataset.compare(line)
        if kind == "other" and not self._rules.replace:
            raise Unfit(f"{self._dataset} has other labels for it already; --replace changes them")
        self.counts[kind] += 1
        if kind != "same":
            self.lines[found.name] = line
        target = self._dataset.path.parent / found.name
        if target != found.source and (kind == "new" or not target.exists()):
            self.placing[target] = found.source
        if found.example:
            self.used.append((found.sha256, found.name, labels_to_json(picture)))


def labels_to_json(picture: LabelledPicture) -> dict[str, Any]:
    """All that was said about a picture, for the database; ``labels_from_json`` reads it back."""
    return {
        "boxes": [[mark.label, list(mark.box)] for mark in picture.boxes],
        "ignore": [[region.label, list(region.box)] for region in picture.ignore],
        "complete": sorted(picture.complete),
    }


def _check_loss(picture: LabelledPicture) -> None:
    missing = [label for label in LABELS if label not in picture.complete]
    lost = []
    if picture.ignore:
        lost.append(f"{len(picture.ignore)} ignore regions")
    if missing:
        lost.append(f"that it is not complete for {', '.join(missing)}")
    if lost:
        raise Unfit(f"a data set's file cannot say {' and '.join(lost)}; --accept-loss imports it without")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One import at a time, over all processes: each reads the file, and writes it with its lines."""
    with reported("write", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
