# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helmet_agent.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_cloud.labels import ClassMap, LabelFormat, LabelSet, Shelf

FORMATS = "sedna, yolo, coco or labelstudio"

Complete = Annotated[
    str | None,
    typer.Option(
        metavar="LABELS",
        help="Labels of which every object has a box, such as 'helmet-on,helmet-off' for a set without persons. "
        "Default: all; a COCO file says it by picture.",
    ),
]
Names = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Class names of the ids 0, 1, ... in the file, such as 'head,helmet,person'. Default: what a YOLO set "
        "says in classes.txt, else the four labels; COCO files always say it themselves.",
    ),
]
Meaning = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=LABEL",
        help="What a class of the file is here: one of the labels; 'ignore': its boxes count neither for nor against; "
        "'drop': they are not used. May be repeated.",
    ),
]
Annotations = Annotated[
    str, typer.Option(metavar="NAME", help="YOLO only: the folder beside images/ that holds the text files.")
]


def parse_source(text: str) -> tuple[LabelFormat, Path]:
    """``FORMAT:PATH``.

    Raises:
        UsageError: it is not.
    """
    name, colon, path = text.partition(":")
    if not colon or not path:
        raise UsageError(f"expected FORMAT:PATH with FORMAT {FORMATS}, found {text!r}")
    return parse_format(name), Path(path)


def parse_format(name: str) -> LabelFormat:
    """A format's name.

    Raises:
        UsageError: it is none.
    """
    from helmet_cloud.labels import LabelFormat  # noqa: PLC0415 - commands load only what they use

    try:
        return LabelFormat(name)
    except ValueError:
        raise UsageError(f"unknown format {name!r}: expected {FORMATS}") from None


def class_map(names: str | None, meaning: Sequence[str] | None) -> ClassMap:
    """``--names`` and ``--map``.

    Raises:
        UsageError: a map is no NAME=LABEL, or means no label.
    """
    from helmet_cloud.labels import DROP, IGNORE, LABELS, ClassMap  # noqa: PLC0415 - as above

    pairs = {}
    for text in meaning or ():
        name, equals, label = text.rpartition("=")
        if not equals or not name or label not in (*LABELS, IGNORE, DROP):
            known = ", ".join((*LABELS, IGNORE, DROP))
            raise UsageError(f"--map: expected NAME=LABEL with LABEL one of {known}, found {text!r}")
        pairs[name] = label
    return ClassMap(tuple(_list(names)) if names else None, pairs)


def complete_labels(text: str | None) -> frozenset[str]:
    """``--complete``.

    Raises:
        UsageError: one of them is no label.
    """
    from helmet_cloud.labels import LABELS  # noqa: PLC0415 - as above

    if text is None:
        return frozenset(LABELS)
    found = frozenset(_list(text))
    if unknown := sorted(found - set(LABELS)):
        raise UsageError(f"--complete: unknown label {unknown[0]!r}; known are {', '.join(LABELS)}")
    return found


def read_source(
    label_format: LabelFormat,
    path: Path,
    *,
    complete: str | None,
    names: str | None,
    meaning: Sequence[str] | None,
    annotations: str = "labels",
    shelf: Shelf | None = None,
) -> LabelSet:
    """Reads labels as the options say; pictures lie beside them, or where the shelf knows.

    Raises:
        UsageError: an option cannot be right, or there is nothing at the path.
        SourceMissing: it cannot be read.
    """
    from helmet_cloud.labels import read_labels  # noqa: PLC0415 - as above

    if not path.exists():
        raise UsageError(f"no such file or folder: {path}")
    return read_labels(
        label_format,
        path,
        class_map(names, meaning),
        complete=complete_labels(complete),
        annotations=annotations,
        **({} if shelf is None else {"shelf": shelf}),
    )


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
