# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud evaluate``: what a model file is worth on labelled pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer

from helmet_cloud.cli.labels import report_problems
from helmet_cloud.cli.options import Annotations, Complete, Meaning, Names, parse_source, read_source


def evaluate(
    data: Annotated[str, typer.Option(metavar="FORMAT:PATH", help="Labelled pictures: sedna, yolo or coco.")],
    model: Annotated[
        Path | None,
        typer.Option(
            help="Folder with manifest.json, or a .tflite file with manifest.json beside it (the float16 variant too). "
            "Default: the model that ships with the agent."
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    threads: Annotated[int, typer.Option(min=1, max=64, help="CPU threads of the network.")] = 1,
    complete: Complete = None,
    names: Names = None,
    meaning: Meaning = None,
    annotations: Annotations = "labels",
) -> None:
    """Measure a model file through the detector that runs on the nodes.

    AP50 uses all points of the precision-recall curve; precision, recall and F1 are taken at the manifest's score
    thresholds. A label without objects is left out and named. What cannot be read of the labels is named on standard
    error and left out; when nothing is left to measure the command fails (exit code 1) and says why.

    `helmet-cloud evaluate --model out/model_float16.tflite --data yolo:frames --complete helmet-on,helmet-off`
    """
    label_format, path = parse_source(data)
    found = read_source(label_format, path, complete=complete, names=names, meaning=meaning, annotations=annotations)
    report_problems(found.problems)
    if found.problems:
        print(f"helmet-cloud: {len(found.problems)} problems in the labels, named above, left out", file=sys.stderr)

    from rich.console import Console  # noqa: PLC0415 - commands load only what they use
    from rich.progress import Progress  # noqa: PLC0415 - as above

    from helmet_agent.adapters.litert import bundled_model_dir  # noqa: PLC0415 - as above
    from helmet_cloud.evaluation import evaluate as measure  # noqa: PLC0415 - as above
    from helmet_cloud.evaluation.render import render_report  # noqa: PLC0415 - as above

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("looking at pictures", total=len(found.pictures))
        report = measure(
            bundled_model_dir() if model is None else model,
            found.pictures,
            threads=threads,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        Console().print(render_report(report))
