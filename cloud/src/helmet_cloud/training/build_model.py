# SPDX-License-Identifier: Apache-2.0
"""``make model``: the bundled model from scratch, in one command that goes on where it was stopped.

Reads and splits the data, trains, exports, chooses thresholds and golden frames, measures, writes card and licence
notes, and puts the files into the repository. Everything but the last step lands below WORK.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_cloud.training.cpu import prepare_tensorflow

prepare_tensorflow()  # before anything below imports TensorFlow

from helmet_agent.contract import ModelManifest  # noqa: E402
from helmet_agent.durable import make_folder, write_atomic  # noqa: E402
from helmet_agent.errors import AgentError, ModelError  # noqa: E402
from helmet_cloud.evaluation import evaluate  # noqa: E402
from helmet_cloud.training import bundle, model_card, sources  # noqa: E402
from helmet_cloud.training.checkpoint import load_checkpoint  # noqa: E402
from helmet_cloud.training.cycles import CYCLES, RESULT, export_average, shortened, train_cycles  # noqa: E402
from helmet_cloud.training.dataset import dataset_digest  # noqa: E402
from helmet_cloud.training.sources import NEW_SITE  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from helmet_cloud.evaluation import EvaluationReport
    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.training.cycles import Cycle
    from helmet_cloud.training.sources import BaseData, Source

CARD, LICENCE, NOTICE = "model-card.md", "LICENSE.md", "NOTICE.md"
VALIDATION = "model-validation.json"
"""The shipped file's figures and curves on the validation part; tools/model_pictures.py draws them."""

NAME, RELEASE = "helmet-base", 1

ALLOWED_LOSS = 0.005
ALLOWED_LOSS_NEW_SITE = 0.015
"""mAP50 that int8 may lose against float."""

MAX_BYTES = 2_500_000
"""Of the int8 file and of the float weights."""

AGENT_ASSETS = Path("agent/src/helmet_agent/assets/model")
CLOUD_ASSETS = Path("cloud/src/helmet_cloud/assets/model")
DOCS = Path("docs")

_FILE_MODE = 0o644
_INTERRUPTED = 130
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Job:
    """One call of the command.

    Attributes:
        data: labelled pictures and start weights.
        work: checkpoint and results.
        cycles: the settings.
        leave_out_person: train heads only.
        note: for the card; may be empty.
        say: takes each line of progress.
    """

    data: Path
    work: Path
    cycles: Sequence[Cycle]
    leave_out_person: bool
    note: str
    say: Callable[[str], None]

    @property
    def folder(self) -> Path:
        """The finished files."""
        return self.work / RESULT


def build(job: Job) -> bool:
    """Makes the model below ``job.work``; False when a signal stopped the training.

    Raises:
        AgentError: data are missing, or the result is not fit to ship.
    """
    make_folder(job.work)
    base = sources.read_base_data(job.data, job.say, leave_out_person=job.leave_out_person)
    start = job.data / sources.START_FILE
    if not train_cycles(start, base, job.cycles, job.work, job.say):
        return False
    export_average(job.cycles, base.training, job.work, job.say)
    manifest, facts = describe(job, base)
    check_fit(facts)
    notice = model_card.render_notice([frame.picture.name for frame in manifest.golden])
    texts = {
        CARD: model_card.render_card(facts),
        LICENCE: model_card.render_licence(),
        NOTICE: notice,
        VALIDATION: json.dumps(facts.validation[0].to_json(), indent=1) + "\n",
    }
    for name, text in texts.items():
        write_atomic(job.folder / name, text.encode(), mode=_FILE_MODE)
    return True


def describe(job: Job, base: BaseData) -> tuple[ModelManifest, model_card.CardFacts]:
    """Manifest with thresholds, golden frames and figures, and what the card tells.

    Raises:
        ModelError: the model misses what a golden frame needs.
    """
    folder = job.folder
    origin = bundle.Origin(NAME, RELEASE, dataset_digest(base.training))
    manifest = bundle.first_manifest(folder, origin)
    job.say("choosing thresholds and golden frames")
    manifest = bundle.with_thresholds(folder, manifest, base.validation)
    manifest = bundle.with_golden(folder, manifest, base.scenes)
    bundle.write_manifest(folder, manifest)
    int8 = _measure(job, bundle.MODEL, base.measured)
    floating = _measure(job, bundle.FLOAT_MODEL, base.measured)
    figures = {source.folder: report.to_json(curves=False) for source, report in int8.items()}
    manifest = replace(manifest, report=figures)
    bundle.write_manifest(folder, manifest)
    sizes = {name: (folder / name).stat().st_size for name in (bundle.MODEL, bundle.FLOAT_MODEL, bundle.WEIGHTS)}
    return manifest, model_card.CardFacts(
        manifest=manifest,
        cycles=job.cycles,
        seconds=[load_checkpoint(cycle.checkpoint(job.work)).seconds for cycle in job.cycles],
        trained=len(base.training),
        validated=len(base.validation),
        start_digest=hashlib.sha256((job.data / sources.START_FILE).read_bytes()).hexdigest(),
        sizes=sizes,
        int8=int8,
        floating=floating,
        validation=(
            evaluate(folder / bundle.MODEL, base.validation, threads=_THREADS),
            evaluate(folder / bundle.FLOAT_MODEL, base.validation, threads=_THREADS),
        ),
        note=job.note,
    )


def _measure(
    job: Job, name: str, measured: Mapping[Source, Sequence[LabelledPicture]]
) -> dict[Source, EvaluationReport]:
    reports = {}
    for source, pictures in measured.items():
        report = evaluate(job.folder / name, pictures, threads=_THREADS)
        reports[source] = report
        job.say(f"{name} on {source.folder}: mAP50 {report.map50:.3f} ({report.pictures} pictures)")
    return reports


def check_fit(facts: model_card.CardFacts) -> None:
    """Refuses what must not ship.

    The loss is taken on the whole validation part and on the new site: parts of it are so small that they lose or win a
    point by chance.

    Raises:
        ModelError: int8 loses too much against float, or a file is too large.
    """
    limits = [
        ("the validation part", *facts.validation, ALLOWED_LOSS),
        ("the new site", facts.int8[NEW_SITE], facts.floating[NEW_SITE], ALLOWED_LOSS_NEW_SITE),
    ]
    for name, int8, floating, allowed in limits:
        lost = floating.map50 - int8.map50
        if lost > allowed:
            raise ModelError(f"int8 loses {lost:.3f} mAP50 on {name}, at most {allowed:g} is allowed")
    for name in (bundle.MODEL, bundle.WEIGHTS):
        if facts.sizes[name] > MAX_BYTES:
            raise ModelError(f"{name} has {facts.sizes[name]} bytes, at most {MAX_BYTES} are allowed")


def install(folder: Path, repository: Path) -> None:
    """Puts finished files into the repository: agent assets, cloud assets, card. The manifest goes last.

    Raises:
        StorageError: a file cannot be written.
    """
    manifest = (folder / bundle.MANIFEST).read_bytes()
    golden = [frame.picture.name for frame in ModelManifest.from_bytes(manifest).golden]
    placed = {
        repository / AGENT_ASSETS: [bundle.FLOAT_MODEL, LICENCE, NOTICE, *golden, bundle.MODEL],
        repository / CLOUD_ASSETS: [LICENCE, bundle.WEIGHTS],
        repository / DOCS: [CARD, VALIDATION],
    }
    for stale in (repository / AGENT_ASSETS).glob("golden_*"):
        if stale.name not in golden:
            stale.unlink()
    for target, names in placed.items():
        make_folder(target, mode=0o755)
        for name in names:
            write_atomic(target / name, (folder / name).read_bytes(), mode=_FILE_MODE)
    write_atomic(repository / AGENT_ASSETS / bundle.MANIFEST, manifest, mode=_FILE_MODE)


def _steps(text: str) -> list[int]:
    """The numbers of steps of one or several cycles."""
    steps = [int(number) for number in text.split(",")]
    if not 0 < len(steps) <= len(CYCLES) or min(steps) < 1:
        raise argparse.ArgumentTypeError(f"one to {len(CYCLES)} positive numbers, comma-separated, not {text!r}")
    return steps


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="build_model", description="Make the bundled model from scratch.")
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled pictures and start weights")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoint and results, off the checkout")
    parser.add_argument("--repository", type=Path, default=Path(), help="checkout that gets the files (default: here)")
    parser.add_argument(
        "--steps",
        type=_steps,
        default=[cycle.plan.steps for cycle in CYCLES],
        help="of each cycle, comma-separated; fewer numbers, fewer cycles (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, help="of the first cycle; later ones count on (default: those that ship)")
    parser.add_argument("--leave-out-person", action="store_true", help="learn heads only")
    parser.add_argument("--note", default="", help="a sentence about the training for the model card")
    given = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is a command

    cycles = shortened(given.steps, given.seed, head_points=not given.leave_out_person)
    job = Job(given.data, given.work, cycles, given.leave_out_person, given.note, say)
    try:
        if not build(job):
            say(f"stopped; the same command goes on from what is in {job.work}")
            return _INTERRUPTED
        if (given.repository / AGENT_ASSETS).parent.is_dir():
            install(job.folder, given.repository)
            say(f"installed into {given.repository.resolve()}")
    except AgentError as error:
        say(f"error: {error}")
        return error.exit_code
    say(f"done: {job.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
