# SPDX-License-Identifier: Apache-2.0
"""Models that a job on a cluster trained, judged by our gate and published, so that nodes outside Kubernetes get them.

Sedna leaves each round in ``<outputDir>/train/<number>``; our train worker puts a model folder there, our eval worker
``evaluation.json`` with all figures of the new and the old model. Nothing is measured again: what counts is that the
evaluation names the digest of the very file that would go out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helmet_agent.contract import Delivery
from helmet_agent.durable import reported
from helmet_cloud.channel.model_folder import MANIFEST, ModelFolder, open_model
from helmet_cloud.core.gate import decide
from helmet_cloud.errors import BadRequest
from helmet_cloud.ports import Publication
from helmet_cloud.store.models import PUBLISHED, publications
from helmet_cloud.workers.sedna_form import EVALUATION

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.channel.channel import SignedChannel
    from helmet_cloud.core.gate import Decision
    from helmet_cloud.core.trigger import Condition
    from helmet_cloud.ports import JobRef, Published
    from helmet_cloud.store.database import Database

MAX_EVALUATION_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class SednaRound:
    """A round that was trained and evaluated.

    Attributes:
        number: of the round.
        model: its folder.
        results: of the eval worker, new model first.
    """

    number: int
    model: ModelFolder
    results: tuple[dict[str, Any], ...]


def newest_round(output: Path) -> SednaRound | None:
    """The newest round below a job's output folder that was trained and evaluated; None where there is none yet.

    Raises:
        BadRequest: its model is not complete, or its evaluation is of another model.
        StorageError: it cannot be read.
    """
    train = output / "train"
    with reported("read", train):
        numbers = [int(path.name) for path in train.iterdir() if path.name.isdigit()] if train.is_dir() else []
    for number in sorted(numbers, reverse=True):
        folder = train / str(number)
        if (folder / MANIFEST).is_file() and (folder / EVALUATION).is_file():
            model = open_model(folder, need_weights=False)
            return SednaRound(number, model, _results(folder / EVALUATION, model.sha256))
    return None


def judge_round(found: SednaRound, condition: Condition, recall_drop: float) -> Decision:
    """The gate's decision on a round's figures, the same as on the hub's own rounds."""
    return decide(condition, found.results, (), recall_drop)


def was_published(database: Database, job: JobRef, ring: str, sha256: str) -> bool:
    """Whether the ring ever had the model: an operator who went back since then has the last word."""
    with database.read() as session:
        return any(row.sha256 == sha256 and row.state == PUBLISHED for row in publications(session, job, ring))


def publish_round(channel: SignedChannel, job: JobRef, ring: str, found: SednaRound, decision: Decision) -> Published:
    """Publishes a round's model; mining rule and delivery stay those of the ring, at first the model's own.

    Raises:
        HubError: it cannot be published. StorageError: the disk.
    """
    live = channel.manifest(job, ring)
    own = found.model.manifest
    now = Delivery() if live is None else live.manifest.delivery
    return channel.publish(
        Publication(
            job=job,
            folder=found.model.folder,
            mining=own.mining if live is None else live.manifest.mining,
            delivery=Delivery(str(job), now.hot_update, now.poll_seconds),
            ring=ring,
            parent=own.parent,
            dataset=own.dataset,
            report=decision.figures,
            reason=f"Sedna's round {found.number}: {decision.reason}",
        )
    )


def _results(path: Path, sha256: str) -> tuple[dict[str, Any], ...]:
    with reported("read", path):
        content = path.read_bytes()[: MAX_EVALUATION_BYTES + 1]
    try:
        if len(content) > MAX_EVALUATION_BYTES:
            raise BadRequest(f"{path}: longer than {MAX_EVALUATION_BYTES} bytes")
        models = json.loads(content)["models"]
        measured = models[0]["sha256"]
        results = tuple({"metrics": dict(one["metrics"])} for one in models)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise BadRequest(f"{path}: no evaluation as the eval worker leaves it: {error}") from error
    if measured != sha256:
        raise BadRequest(f"{path}: measured another model than {path.parent / MANIFEST} names: only that goes out")
    return results
