# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud labels``: between annotation formats and the data set."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helmet_agent.errors import EXIT_FAILED, EXIT_USAGE, UsageError
from helmet_cloud.cli.options import (
    FORMATS,
    Annotations,
    Complete,
    Meaning,
    Names,
    parse_format,
    parse_source,
    read_source,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_cloud.labels import LabelFormat, LabelledPicture, LabelProblem, LabelSet, Shelf

labels = typer.Typer(
    help="Read, check and convert annotations: sedna (one text file), yolo (a folder), coco and labelstudio (one JSON "
    "file each). With --data-dir: between a labelling tool and a hub.",
    epilog="Whatever cannot be right is named on standard error as FILE:LINE: REASON, left out, and makes the exit "
    "code 1; the rest is used. Exit code 2: nothing was read or written. The formats by example: docs/labels.md.",
)

Pictures = Annotated[
    str,
    typer.Option(
        metavar="keep|copy|link",
        help="Where the pictures go: 'keep' leaves them (they must lie below the target's folder), 'copy' and 'link' "
        "put copies or symbolic links into images/ there.",
    ),
]
HubDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="A hub's folder: work with its examples and Datasets.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace annotations that are there already.")]


@labels.callback(invoke_without_command=True)
def _top(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


@labels.command("import")
def import_labels(
    label_format: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{FORMATS}.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="File, or folder (yolo), to read.")],
    dataset: Annotated[
        Path | None,
        typer.Argument(metavar="DATASET", help="Without --data-dir: the data set's text file, in Sedna's format."),
    ] = None,
    *,
    data_dir: HubDir = None,
    dataset_name: Annotated[
        str | None, typer.Option("--dataset", metavar="NAMESPACE/NAME", help="The hub's Dataset to bring them into.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Hub: give other labels to pictures that the data set has already.")
    ] = False,
    add_pictures: Annotated[
        bool, typer.Option("--add-pictures", help="Hub: take in pictures beside the labels that are no examples.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Hub: take labels without their ignore regions and incompleteness.")
    ] = False,
    append: Annotated[bool, typer.Option("--append", help="Add to the data set, keeping its lines.")] = False,
    overwrite: Overwrite = False,
    pictures: Pictures = "keep",
    complete: Complete = None,
    names: Names = None,
    meaning: Meaning = None,
    annotations: Annotations = "labels",
) -> None:
    """Bring annotations into a data set: a Sedna text file, or a Dataset of a hub.

    `helmet-cloud labels import coco export/labels.json data/data.txt --pictures copy --map head=helmet-off`

    `helmet-cloud labels import --data-dir hub --dataset default/incremental-dataset labelstudio project-1.json`

    With --data-dir, labels belong to the hub's examples by the digest in the picture's name or by its content; either
    all of them are imported or none, and doing it twice adds nothing. It works on DIR, beside a running hub too.
    """
    wanted = parse_format(label_format)

    def read(shelf: Shelf | None = None) -> LabelSet:
        options = {"complete": complete, "names": names, "annotations": annotations}
        return read_source(wanted, source, meaning=meaning, shelf=shelf, **options)  # type: ignore[arg-type] # as named

    if data_dir is not None:
        from helmet_cloud.cli.hub_labels import import_into_hub  # noqa: PLC0415 - commands load only what they use
        from helmet_cloud.examples.labelling import ImportRules  # noqa: PLC0415 - as above

        if dataset is not None or dataset_name is None:
            raise UsageError("--data-dir: say --dataset NAMESPACE/NAME, and no DATASET file")
        import_into_hub(data_dir, dataset_name, read, ImportRules(replace, add_pictures, accept_loss))
        return
    if dataset is None or dataset_name is not None:
        raise UsageError("Missing argument 'DATASET', or --data-dir and --dataset for a hub's Dataset")
    from helmet_cloud.labels import LabelFormat  # noqa: PLC0415 - as above

    _free(LabelFormat.SEDNA, dataset, pictures, may_replace=append or overwrite)
    _put(read(), LabelFormat.SEDNA, dataset, pictures, append=append)


@labels.command("export")
def export_labels(
    label_format: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{FORMATS}.")],
    source: Annotated[
        Path,
        typer.Argument(metavar="DATASET|TARGET", help="The data set's text file; with --data-dir: what to write."),
    ],
    target: Annotated[
        Path | None, typer.Argument(metavar="TARGET", help="Without --data-dir: file, or folder (yolo), to write.")
    ] = None,
    *,
    data_dir: HubDir = None,
    state: Annotated[
        str,
        typer.Option(
            metavar="pending|labelled",
            help="Hub: examples that no data set uses, with what the model saw as suggestions; or those that have "
            "labels, with these.",
        ),
    ] = "pending",
    overwrite: Overwrite = False,
    pictures: Pictures = "keep",
    complete: Complete = None,
    names: Names = None,
    meaning: Meaning = None,
) -> None:
    """Write a data set (a Sedna text file) in another format, for labelling tools and other trainers; or examples.

    `helmet-cloud labels export yolo data/data.txt for-the-tool --pictures copy`

    `helmet-cloud labels export --data-dir hub --state pending labelstudio for-the-tool/tasks.json`

    With --data-dir, copies of the pictures are put into images/ beside. It works on DIR, beside a running hub too.
    """
    wanted = parse_format(label_format)
    if data_dir is not None:
        if target is not None:
            raise UsageError("--data-dir: expected one path, where to write to")
        from helmet_cloud.cli.hub_labels import export_from_hub  # noqa: PLC0415 - commands load only what they use

        _free(wanted, source, pictures, may_replace=overwrite)
        close(*export_from_hub(data_dir, wanted, source, state), f"wrote {source}")
        return
    if target is None:
        raise UsageError("Missing argument 'TARGET', or --data-dir for a hub's examples")
    from helmet_cloud.labels import LabelFormat  # noqa: PLC0415 - as above

    _free(wanted, target, pictures, may_replace=overwrite)
    found = read_source(LabelFormat.SEDNA, source, complete=complete, names=names, meaning=meaning)
    _put(found, wanted, target, pictures)


@labels.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="FORMAT:SOURCE", help="What to read.")],
    target: Annotated[str, typer.Argument(metavar="FORMAT:TARGET", help="What to write.")],
    *,
    overwrite: Overwrite = False,
    pictures: Pictures = "keep",
    complete: Complete = None,
    names: Names = None,
    meaning: Meaning = None,
    annotations: Annotations = "labels",
) -> None:
    """Turn annotations of one format into another.

    `helmet-cloud labels convert yolo:frames coco:frames/labels.json`
    """
    (source_format, source_path), (target_format, target_path) = parse_source(source), parse_source(target)
    _free(target_format, target_path, pictures, may_replace=overwrite)
    found = read_source(
        source_format, source_path, complete=complete, names=names, meaning=meaning, annotations=annotations
    )
    _put(found, target_format, target_path, pictures)


@labels.command()
def check(
    source: Annotated[str, typer.Argument(metavar="FORMAT:SOURCE", help="What to read.")],
    *,
    complete: Complete = None,
    names: Names = None,
    meaning: Meaning = None,
    annotations: Annotations = "labels",
) -> None:
    """Read annotations and say what is in them and what cannot be right; writes nothing.

    `helmet-cloud labels check sedna:data/data.txt`
    """
    label_format, path = parse_source(source)
    found = read_source(label_format, path, complete=complete, names=names, meaning=meaning, annotations=annotations)
    close(found.pictures, found.problems, f"read {path}")


def report_problems(problems: Sequence[LabelProblem]) -> None:
    """Names every problem on standard error."""
    for problem in problems:
        print(problem, file=sys.stderr)


def _free(label_format: LabelFormat, target: Path, placing: str, *, may_replace: bool) -> None:
    """Refuses before anything is read what cannot be written afterwards."""
    if placing not in ("keep", "copy", "link"):
        raise UsageError(f"--pictures: expected keep, copy or link, found {placing!r}")
    there = target / "labels" if label_format == "yolo" else target
    if there.exists() and not may_replace:
        raise UsageError(f"{there} is there already: add --overwrite to replace it, or name another target")


def _put(found: LabelSet, label_format: LabelFormat, target: Path, placing: str, *, append: bool = False) -> None:
    from helmet_cloud.labels import append_sedna, picture_folder, place_pictures, write_labels  # noqa: PLC0415 - as above

    placed = place_pictures(found.pictures, picture_folder(label_format, target), placing)  # type: ignore[arg-type] # checked by _free
    lost = append_sedna(target, placed) if append else write_labels(label_format, target, placed)
    left_out = {problem.file for problem in lost}
    written = [picture for picture in placed if picture.path not in left_out]
    close(written, (*found.problems, *lost), f"wrote {target}")


def close(pictures: Sequence[LabelledPicture], problems: Sequence[LabelProblem], done: str) -> None:
    """Names problems, sums up what was done, and ends with exit code 1 when something was left out."""
    report_problems(problems)
    counts = Counter(mark.label for picture in pictures for mark in picture.boxes)
    objects = ", ".join(f"{count} {label}" for label, count in sorted(counts.items())) or "no objects"
    empty = sum(not picture.boxes for picture in pictures)
    print(f"{done}: {len(pictures)} pictures ({empty} with nothing in them): {objects}")
    if problems:
        print(f"helmet-cloud: {len(problems)} problems, named above; what they name was left out", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED)
