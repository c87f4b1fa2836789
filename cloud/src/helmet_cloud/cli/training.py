# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud train`` and ``export``: the only commands that need TensorFlow."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helmet_agent.errors import AgentError, UsageError
from helmet_cloud.cli.labels import report_problems
from helmet_cloud.cli.options import Annotations, Complete, Meaning, Names, parse_source, read_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_cloud.labels import LabelledPicture

INTERRUPTED = 130
CHECKPOINT, WEIGHTS = "round.npz", "weights.npz"

Weights = Annotated[Path, typer.Option(metavar="FILE", help="Float weights to start from: the weights.npz of a model.")]


def train(
    data: Annotated[str, typer.Option(metavar="FORMAT:PATH", help="The new labelled pictures.")],
    weights: Weights,
    work: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the checkpoint and the trained weights.npz.")],
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT:PATH",
            help="Pictures of earlier rounds: half of each batch. Without them the model forgets the sites it knew.",
        ),
    ] = None,
    *,
    steps: Annotated[int, typer.Option(min=1, max=1_000_000, help="Steps of 16 pictures.")] = 300,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of every random choice.")] = 1,
    complete: Complete = None,
    names: Names = None,
    meaning: Meaning = None,
    annotations: Annotations = "labels",
) -> None:
    """Train a model on: one round, from the weights of another model, on new pictures.

    Progress goes to standard error. Stopped by Ctrl-C or SIGTERM, it saves its state; the same command goes on from
    there. The base model is made by `make model`. Options about labels hold for both sets; where these differ in
    what they are complete for, convert them to coco, which says it by picture.

    `helmet-cloud train --data sedna:site/data.txt --replay sedna:old/data.txt --weights weights.npz --work round-1`
    """
    _need_training()
    read = partial(_pictures, complete=complete, names=names, meaning=meaning, annotations=annotations)
    new = read(data)
    old = read(replay) if replay else []
    if not weights.is_file():
        raise UsageError(f"no such weights: {weights}")
    _prepare()
    from helmet_agent.durable import make_folder  # noqa: PLC0415 - commands load only what they use
    from helmet_cloud.training.export import save_weights  # noqa: PLC0415 - as above
    from helmet_cloud.training.runs import train_round  # noqa: PLC0415 - as above
    from helmet_cloud.training.schedule import round_plan  # noqa: PLC0415 - as above

    make_folder(work, mode=0o755)
    network, result = train_round(weights, new, old, round_plan(steps, seed), work / CHECKPOINT, say=_say)
    if result.interrupted:
        _say(f"stopped at step {result.step}; the same command goes on from {work / CHECKPOINT}")
        raise typer.Exit(INTERRUPTED)
    save_weights(network, work / WEIGHTS)
    print(work / WEIGHTS)


def export(
    weights: Weights,
    data: Annotated[
        str,
        typer.Option(
            metavar="FORMAT:PATH",
            help="The pictures it was trained on: quantisation is calibrated on some of them, their digest goes into "
            "the manifest.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model's folder.")],
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT:PATH",
            help="Pictures that were not trained on: the score thresholds with the best F1 on them go into the "
            "manifest. Default: 0.25 for all labels.",
        ),
    ] = None,
    golden: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT:PATH",
            help="Pictures that may be shipped: from each clip (name without its last digits) the one that the model "
            "finds most surely goes along, for nodes to check themselves with. Without them nodes refuse the model.",
        ),
    ] = None,
    *,
    name: Annotated[str, typer.Option(help="The model's name, for people.")] = "helmet",
    release: Annotated[int, typer.Option(min=0, max=2**53, help="Grows with every publication.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the choice of calibration pictures.")] = 1,
    complete: Complete = None,
    names: Names = None,
    meaning: Meaning = None,
    annotations: Annotations = "labels",
) -> None:
    """Turn float weights into a model folder: int8 file, float16 file, weights and manifest.

    `helmet-cloud export --weights round-1/weights.npz --data sedna:site/data.txt --validation yolo:other --out model`
    """
    _need_training()
    read = partial(_pictures, complete=complete, names=names, meaning=meaning, annotations=annotations)
    trained = read(data)
    validated = read(validation) if validation else []
    shown = read(golden) if golden else []
    if not weights.is_file():
        raise UsageError(f"no such weights: {weights}")
    _prepare()
    from helmet_agent.durable import make_folder, write_atomic  # noqa: PLC0415 - as above
    from helmet_cloud.training import bundle, sources  # noqa: PLC0415 - as above
    from helmet_cloud.training import export as exporting  # noqa: PLC0415 - as above
    from helmet_cloud.training.classes import INPUT_HEIGHT, INPUT_WIDTH  # noqa: PLC0415 - as above
    from helmet_cloud.training.dataset import dataset_digest  # noqa: PLC0415 - as above
    from helmet_cloud.training.runs import choose, letterboxed  # noqa: PLC0415 - as above

    network = exporting.load_weights(weights)
    _say("exporting; this takes a minute")
    chosen = choose(trained, exporting.CALIBRATION_PICTURES, seed)
    make_folder(out, mode=0o755)
    (out / bundle.MANIFEST).unlink(missing_ok=True)  # no manifest may describe files that are being replaced
    int8 = exporting.to_int8(network, letterboxed(chosen, INPUT_HEIGHT, INPUT_WIDTH))
    write_atomic(out / bundle.MODEL, int8, mode=0o644)
    write_atomic(out / bundle.FLOAT_MODEL, exporting.to_float16(network), mode=0o644)
    write_atomic(out / bundle.WEIGHTS, weights.read_bytes(), mode=0o644)
    manifest = bundle.first_manifest(out, bundle.Origin(name, release, dataset_digest(trained)))
    if validated:
        manifest = bundle.with_thresholds(out, manifest, validated)
    if shown:
        manifest = bundle.with_golden(out, manifest, sources.scenes(shown))
    bundle.write_manifest(out, manifest)
    print(out)


def _pictures(
    source: str, *, complete: str | None, names: str | None, meaning: Sequence[str] | None, annotations: str
) -> list[LabelledPicture]:
    label_format, path = parse_source(source)
    found = read_source(label_format, path, complete=complete, names=names, meaning=meaning, annotations=annotations)
    report_problems(found.problems)
    if not found.pictures:
        raise UsageError(f"no labelled pictures in {source}")
    return list(found.pictures)


def _need_training() -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise AgentError("training is not installed: pip install 'helmet-cloud[train]'")


def _prepare() -> None:
    """Settings that count only before TensorFlow is imported."""
    from helmet_cloud.training.cpu import prepare_tensorflow  # noqa: PLC0415 - as above

    prepare_tensorflow()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
