# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud labels import|export --data-dir``: between a labelling tool and a hub."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import typer

from helmet_agent.errors import EXIT_FAILED, UsageError
from helmet_cloud.cli.hub_folder import opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_cloud.examples.labelling import ImportRules
    from helmet_cloud.labels import LabelFormat, LabelledPicture, LabelProblem, LabelSet, Shelf


def import_into_hub(data_dir: Path, dataset: str, read: Callable[[Shelf], LabelSet], rules: ImportRules) -> None:
    """Imports labels into a Dataset of a hub and says what it did.

    Raises:
        UsageError: the data set's name is none.
        Exit: the labels were refused; the reasons stand on standard error.
    """
    from helmet_cloud.examples.labelling import Labelling, LabelsRefused  # noqa: PLC0415 - commands load what they use
    from helmet_cloud.store.resources import ResourceStore  # noqa: PLC0415 - as above

    namespace, slash, name = dataset.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise UsageError(f"--dataset: expected NAMESPACE/NAME, found {dataset!r}")
    with opened(data_dir) as (home, database):
        labelling = Labelling(home, database, ResourceStore(database))
        try:
            done = labelling.bring(namespace, name, read, rules, now=time.time())
        except LabelsRefused as refused:
            for problem in refused.problems:
                print(problem, file=sys.stderr)
            print(f"helmet-cloud: {refused}", file=sys.stderr)
            raise typer.Exit(EXIT_FAILED) from None
    later = f"; {done.unlabelled} not labelled yet" if done.unlabelled else ""
    print(
        f"{done.dataset} ({done.file}): {done.added} pictures added, {done.replaced} changed, "
        f"{done.unchanged} were there{later}"
    )


def export_from_hub(
    data_dir: Path, label_format: LabelFormat, target: Path, state: str
) -> tuple[list[LabelledPicture], tuple[LabelProblem, ...]]:
    """Writes examples of a hub in a label format; see ``examples.exporting``.

    Raises:
        UsageError: there is no such state, or no such example.
    """
    from helmet_cloud.examples.exporting import export_examples  # noqa: PLC0415 - as above
    from helmet_cloud.examples.pictures import PictureFolder  # noqa: PLC0415 - as above
    from helmet_cloud.store.examples import STATES  # noqa: PLC0415 - as above

    if state not in STATES:
        raise UsageError(f"--state: expected {' or '.join(STATES)}, found {state!r}")
    with opened(data_dir) as (home, database):
        return export_examples(database, PictureFolder(home.pictures), label_format, target, state)
