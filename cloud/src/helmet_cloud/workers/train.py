# SPDX-License-Identifier: Apache-2.0
"""The train worker: ``python -m helmet_cloud.workers.train`` under Sedna's environment.

Reads ``TRAIN_DATASET_URL`` (and ``HELMET_REPLAY_URL``), starts from the float weights at ``BASE_MODEL_URL``, leaves a
model folder at ``MODEL_URL``. Its state lies in ``HELMET_CHECKPOINT_DIR``: started again it goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent.durable import make_folder, reported, write_atomic
from helmet_cloud.training.cpu import prepare_tensorflow
from helmet_cloud.training.dataset import dataset_digest
from helmet_cloud.workers.models import base_model
from helmet_cloud.workers.parameters import Parameters, optional_path, read_parameters, required_path
from helmet_cloud.workers.program import Interrupted, run_worker
from helmet_cloud.workers.samples import read_samples, set_aside, without_unmarked
from helmet_cloud.workers.sedna_form import train_results, under_sedna

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from helmet_agent.contract import ModelManifest
    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.training.schedule import Plan
    from helmet_cloud.workers.reporting import Reporter

CHECKPOINT, INPUTS = "round.npz", "round.json"
REPLAY_VALIDATED = 60
"""Old pictures, at most, that help to choose thresholds."""

DISTIL_WEIGHT = 1.0
"""The accepted model's word weighs as much as the labels'."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has to work with.

    Attributes:
        new: pictures to learn.
        old: pictures to keep.
        validation: pictures of both kinds that choose thresholds.
        weights: to start from.
        manifest: of the base model, where it has one.
        digest: of the new pictures, validation included.
    """

    new: list[LabelledPicture]
    old: list[LabelledPicture]
    validation: list[LabelledPicture]
    weights: Path
    manifest: ModelManifest | None
    digest: str


def say(line: str) -> None:
    """A line for the log."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a worker's output is its log


def read_round(environment: Mapping[str, str], parameters: Parameters) -> Round:
    """Reads everything before anything is computed.

    Raises:
        AgentError: something is missing or cannot be right.
    """
    weights, manifest = base_model(required_path(environment, "BASE_MODEL_URL"))
    original = optional_path(environment, "ORIGINAL_DATASET_URL") if under_sedna(environment) else None
    given = read_samples(required_path(environment, "TRAIN_DATASET_URL"), parameters, say, original)
    digest = dataset_digest(given)
    replay = optional_path(environment, "HELMET_REPLAY_URL") if parameters.replay_share else None
    kept = read_samples(replay, parameters, say) if replay is not None and replay.stat().st_size else []
    everything = without_unmarked([*given, *kept])
    new, new_aside = set_aside(everything[: len(given)])
    old, old_aside = set_aside(everything[len(given) :])
    return Round(new, old, [*new_aside, *old_aside[:REPLAY_VALIDATED]], weights, manifest, digest)


def round_steps(new: int, parameters: Parameters, old: int) -> int:
    """Steps of ``epochs`` passes over the new pictures."""
    from helmet_cloud.training.runs import old_in_batch  # noqa: PLC0415 - imports TensorFlow

    share = old_in_batch(parameters.batch_size, parameters.replay_share) if old else 0
    return max(1, math.ceil(parameters.epochs * new / (parameters.batch_size - share)))


def make_plan(found: Round, parameters: Parameters) -> Plan:
    """The plan of the round."""
    from helmet_cloud.training.schedule import round_plan  # noqa: PLC0415 - as above

    return round_plan(
        round_steps(len(found.new), parameters, len(found.old)),
        parameters.seed,
        batch=parameters.batch_size,
        height=parameters.height,
        width=parameters.width,
        distil=DISTIL_WEIGHT if parameters.distil else 0.0,
        freeze=parameters.freeze,
        blend=parameters.blend_share if parameters.blend else 0.0,
    )


def checkpoint_for(folder: Path, found: Round, plan: Plan) -> Path:
    """Where this round's state lies; what another round left there is removed first.

    Raises:
        StorageError: the folder cannot be written.
    """
    make_folder(folder)
    weights = hashlib.sha256(found.weights.read_bytes()).hexdigest()
    old = dataset_digest(found.old)
    inputs = json.dumps({"new": found.digest, "old": old, "weights": weights, "plan": asdict(plan)}).encode()
    path, note = folder / CHECKPOINT, folder / INPUTS
    if not note.is_file() or note.read_bytes() != inputs:
        with reported("remove", path):
            path.unlink(missing_ok=True)
        write_atomic(note, inputs)
    return path


def work(environment: Mapping[str, str], reporter: Reporter) -> list[dict[str, Any]]:
    """The round; returns Sedna's results.

    Raises:
        AgentError: it cannot be done.
        Interrupted: a signal ended it; the state is kept.
    """
    parameters = read_parameters(environment)
    folder = required_path(environment, "MODEL_URL")
    found = read_round(environment, parameters)
    say(f"{len(found.new)} new pictures, {len(found.old)} old ones, {len(found.validation)} to choose thresholds by")
    reporter.progress("starting", 0, 1)

    from helmet_cloud.training import export  # noqa: PLC0415 - imports TensorFlow, which takes seconds
    from helmet_cloud.training.runs import choose, letterboxed, train_round  # noqa: PLC0415 - as above
    from helmet_cloud.workers.packing import Trained, pack  # noqa: PLC0415 - as above

    plan = make_plan(found, parameters)
    checkpoint = checkpoint_for(Path(environment.get("HELMET_CHECKPOINT_DIR") or folder), found, plan)
    network, result = train_round(
        found.weights,
        found.new,
        found.old,
        plan,
        checkpoint,
        replay_share=parameters.replay_share,
        say=say,
        progress=lambda step, of: reporter.progress("training", step, of),
    )
    if result.interrupted:
        raise Interrupted(f"stopped at step {result.step} of {plan.steps}; the next attempt goes on from there")
    reporter.progress("exporting", 0, 1)
    say("exporting")
    size = (parameters.height, parameters.width)
    half = export.CALIBRATION_PICTURES // (2 if found.old else 1)
    chosen = [*choose(found.new, half, plan.seed), *choose(found.old, half, plan.seed)]
    int8 = export.to_int8(network, letterboxed(chosen, *size), size=size)
    weights = checkpoint.with_name("weights.npz")
    export.save_weights(network, weights)
    trained = Trained(
        int8,
        weights.read_bytes(),
        found.weights.parent,
        found.manifest,
        found.digest,
        found.validation,
        [*found.new, *found.old],
    )
    manifest = pack(folder, trained, parameters, say)
    say(f"model {manifest.model.sha256} in {folder}")
    metrics = {"steps": result.step, "seconds": round(result.seconds, 1)}
    if result.loss is not None:
        metrics["loss"] = round(result.loss, 4)
    results = [{"format": "tflite", "url": str(folder), "metrics": metrics}]
    return train_results(results, environment) if under_sedna(environment) else results


def main() -> int:
    """The program; returns the exit code."""
    prepare_tensorflow()
    return run_worker("train", os.environ, work)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # TensorFlow's threads can take seconds to end, or hang; everything is on the disk
    os._exit(code)
