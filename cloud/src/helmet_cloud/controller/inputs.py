# SPDX-License-Identifier: Apache-2.0
"""What a worker finds when it starts: data files in Sedna's places, and its environment."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmet_agent.durable import make_folder, reported, write_atomic
from helmet_cloud.controller.models import round_folder
from helmet_cloud.ports import WorkerSpec
from helmet_cloud.workers.groups import GROUPS, groups_text
from helmet_cloud.workers.parameters import BLEND_WITH_OLD, BLEND_WITHOUT_OLD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helmet_cloud.controller.parts import Parts
    from helmet_cloud.controller.plan import JobPlan
    from helmet_cloud.store.rounds import RoundRow
    from helmet_cloud.store.samples import Member

PUBLIC = 0o755
KEEP_OLD = "blend"
"""How old knowledge is kept unless the job says otherwise."""


def data_file(parts: Parts, row: RoundRow, role: str) -> Path:
    """Sedna's place for the samples of a round: ``<outputDir>/data/<role>/<round>/data.txt``."""
    return parts.home.mapped(row.output_dir) / "data" / role / str(row.number) / "data.txt"


def write_data(file: Path, members: Sequence[Member], groups: Mapping[str, str]) -> None:
    """Writes a round's data file; its pictures are links named by their digest, so that no path needs escaping.

    Doing it again gives the same files.

    Args:
        file: where it goes.
        members: the samples.
        groups: of neighbours, by sha256, as far as they are known.

    Raises:
        StorageError: it cannot be written.
    """
    pictures = file.parent / "images"
    make_folder(pictures, mode=PUBLIC)
    lines = []
    named = {}
    for sha256, labels, path in members:
        name = f"{sha256}{Path(path).suffix.lower()}"
        link = pictures / name
        with reported("write", link):
            if not link.is_symlink() or link.readlink() != Path(path):
                with contextlib.suppress(FileNotFoundError):
                    link.unlink()
                link.symlink_to(path)
        lines.append(" ".join([f"images/{name}", labels]).rstrip() + "\n")
        if sha256 in groups:
            named[name] = groups[sha256]
    write_atomic(file.with_name(GROUPS), groups_text(named).encode(), mode=0o644)
    write_atomic(file, "".join(lines).encode(), mode=0o644)


def condition_data(
    parts: Parts, row: RoundRow, stage: str, results: Sequence[dict[str, Any]], decision: dict[str, Any] | None = None
) -> str:
    """Sedna's ``data`` of a condition: a JSON text of what goes into a stage and what came out of it.

    Args:
        parts: the surroundings.
        row: the round.
        stage: ``Train``, ``Eval`` or ``Deploy``.
        results: of the stage's worker; empty before it is done.
        decision: the gate's figures.
    """
    made = str(round_folder(parts, row.output_dir, row.number))
    models = [row.base_folder] if stage == "Train" else [made, row.old_folder]
    document: dict[str, Any] = {
        "input": {
            "models": [{"format": "tflite", "url": url} for url in models],
            "dataURL": str(data_file(parts, row, "train" if stage == "Train" else "eval")),
            "dataIndexURL": row.dataset_file,
            "outputDir": made,
        },
        "output": {
            "models": [{key: one[key] for key in ("format", "url", "metrics") if key in one} for one in results]
        },
    }
    if decision is not None:
        document["decision"] = decision
    return json.dumps(document, sort_keys=True)


def worker_spec(parts: Parts, plan: JobPlan, row: RoundRow, kind: str, name: str) -> WorkerSpec:
    """The train or eval worker of a round.

    Args:
        parts: the surroundings.
        plan: of the job.
        row: the round.
        kind: ``train`` or ``eval``.
        name: of the worker.
    """
    settings, spec = parts.home.settings, plan.spec
    template = spec.train if kind == "train" else spec.evaluation
    folder = parts.home.work / spec.job.namespace / spec.job.name / f"{row.number}-{row.id}-{kind}"
    ours = _train(parts, plan, row, folder) if kind == "train" else _eval(parts, row)
    common = {
        "NAMESPACE": spec.job.namespace,
        "JOB_NAME": spec.job.name,
        "ORIGINAL_DATASET_URL": row.dataset_file,
    }
    return WorkerSpec(
        name=name,
        job=spec.job,
        kind=kind,
        environment=template.parameters | common | ours,
        folder=folder,
        timeout_seconds=settings.train_timeout_seconds if kind == "train" else settings.eval_timeout_seconds,
        memory_bytes=template.memory_bytes or settings.worker_memory_bytes,
    )


def _train(parts: Parts, plan: JobPlan, row: RoundRow, folder: Path) -> dict[str, str]:
    options = plan.spec.options
    seed = hashlib.sha256(f"{plan.spec.job} {row.number}".encode()).digest()[:4]
    old_at_hand = (
        plan.spec.options.replay_dataset is not None and row.replay_version is not None and not row.replay_missing
    )
    found = {
        "BASE_MODEL_URL": row.base_folder,
        "MODEL_URL": str(round_folder(parts, row.output_dir, row.number)),
        "TRAIN_DATASET_URL": str(data_file(parts, row, "train")),
        "HELMET_RETENTION": options.retention or KEEP_OLD,
        "HELMET_BLEND_SHARE": f"{BLEND_WITH_OLD if old_at_hand else BLEND_WITHOUT_OLD:g}",
        "HELMET_SEED": str(int.from_bytes(seed, "big") >> 1 if options.seed is None else options.seed),
        "HELMET_CHECKPOINT_DIR": str(folder),
    }
    if row.replay_version is not None:
        found["HELMET_REPLAY_URL"] = str(data_file(parts, row, "replay"))
        found["HELMET_REPLAY_SHARE"] = f"{plan.replay_share:g}"
    return found


def _eval(parts: Parts, row: RoundRow) -> dict[str, str]:
    found = {
        "MODEL_URLS": f"{round_folder(parts, row.output_dir, row.number)};{row.old_folder}",
        "TEST_DATASET_URL": str(data_file(parts, row, "eval")),
    }
    regression = parts.regression()
    if regression is not None:
        found["HELMET_REGRESSION_URL"] = regression
    return found
