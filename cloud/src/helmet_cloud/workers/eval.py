# SPDX-License-Identifier: Apache-2.0
"""The eval worker: ``python -m helmet_cloud.workers.eval`` under Sedna's environment.

Measures the exact int8 files of ``MODEL_URLS`` (``new;old``) on ``TEST_DATASET_URL`` and on the regression set at
``HELMET_REGRESSION_URL``, through the detector that runs on the nodes. It never imports TensorFlow.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmet_agent.adapters.litert import load_manifest
from helmet_agent.errors import UsageError
from helmet_cloud.evaluation import NothingToMeasure, evaluate
from helmet_cloud.labels import LABELS
from helmet_cloud.workers.models import served_folder
from helmet_cloud.workers.parameters import Parameters, optional_path, read_parameters, required_path
from helmet_cloud.workers.program import run_worker
from helmet_cloud.workers.samples import read_samples
from helmet_cloud.workers.sedna_form import eval_results, under_sedna

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.workers.reporting import Reporter

THREADS = 2
FIGURES = {"precision": "precision", "recall": "recall", "f1": "f1", "map50": "ap50"}
"""Metrics of a report, and the figure of a class that each is a list of."""


def say(line: str) -> None:
    """A line for the log."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a worker's output is its log


def measure(
    folder: Path, pictures: Sequence[LabelledPicture], labels: Sequence[str], reporter: Reporter, stage: str
) -> dict[str, list[Any]]:
    """Figures by name, each a list in the order of ``labels``; None for a label that has no object there.

    Raises:
        ModelError: the model cannot be served.
        SourceMissing: a picture is gone.
    """
    try:
        report = evaluate(
            folder, pictures, threads=THREADS, progress=lambda done, of: reporter.progress(stage, done, of)
        )
        found = report.per_class
        for label, reason in report.left_out.items():
            say(f"{stage}: {label} left out: {reason}")
    except NothingToMeasure as error:
        say(f"{stage}: {error}")
        found = {}
    figures: dict[str, list[Any]] = {
        name: [round(getattr(found[label], figure), 6) if label in found else None for label in labels]
        for name, figure in FIGURES.items()
    }
    figures["objects"] = [found[label].objects if label in found else 0 for label in labels]
    figures["predictions"] = [found[label].predictions if label in found else 0 for label in labels]
    say(f"{stage}: " + "  ".join(f"{name} {values}" for name, values in figures.items()))
    return figures


def work(environment: Mapping[str, str], reporter: Reporter) -> list[dict[str, Any]]:
    """See ``_work``; packages are taken apart in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="helmet-eval-") as folder:
        return _work(environment, reporter, Path(folder))


def _work(environment: Mapping[str, str], reporter: Reporter, unpacked: Path) -> list[dict[str, Any]]:
    """Measures every model; returns Sedna's results, in the order of ``MODEL_URLS``.

    Raises:
        AgentError: a model or a data set is missing or cannot be right.
    """
    parameters: Parameters = read_parameters(environment)
    urls = [url for url in environment.get("MODEL_URLS", "").split(";") if url.strip()]
    if not urls:
        raise UsageError("MODEL_URLS: expected new;old")
    labels = [name for name in parameters.class_names if name in LABELS]
    original = optional_path(environment, "ORIGINAL_DATASET_URL") if under_sedna(environment) else None
    test = read_samples(required_path(environment, "TEST_DATASET_URL"), parameters, say, original)
    guarded = optional_path(environment, "HELMET_REGRESSION_URL")
    regression = read_samples(guarded, Parameters(), say) if guarded is not None else []
    results = []
    digests = []
    for index, url in enumerate(urls):
        folder = served_folder(Path(url.strip()), unpacked)
        digests.append(load_manifest(folder).model.sha256)
        stage = ("new model", "old model")[index] if index < 2 else f"model {index}"  # noqa: PLR2004 - new and old
        metrics: dict[str, Any] = dict(measure(folder, test, labels, reporter, stage))
        if regression:
            metrics["regression"] = measure(folder, regression, labels, reporter, f"{stage}, regression set")
        metrics |= {"labels": labels, "samples": len(test)}
        results.append({"format": "tflite", "url": url.strip(), "metrics": metrics})
    return eval_results(results, environment, digests, say) if under_sedna(environment) else results


def main() -> int:
    """The program; returns the exit code."""
    return run_worker("eval", os.environ, work)


if __name__ == "__main__":
    sys.exit(main())
