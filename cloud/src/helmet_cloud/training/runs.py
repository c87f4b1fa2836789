# SPDX-License-Identifier: Apache-2.0
"""The two kinds of run: the base model from COCO weights, and a later round from the weights of a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from helmet_agent.errors import UsageError
from helmet_cloud.training.augment import letterbox
from helmet_cloud.training.batches import Part, make_batch
from helmet_cloud.training.dataset import load
from helmet_cloud.training.export import load_weights
from helmet_cloud.training.network import NANO, build_network
from helmet_cloud.training.start_weights import estimate_statistics, load_coco
from helmet_cloud.training.train import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.training.network import Network, NetworkSpec
    from helmet_cloud.training.schedule import Plan
    from helmet_cloud.training.train import Result

NORM_PICTURES = 32
STATISTICS_BATCHES = 4


def letterboxed(pictures: Sequence[LabelledPicture], height: int, width: int) -> NDArray[np.uint8]:
    """Pictures as the agent feeds them: ``[N, height, width, 3]`` BGR.

    Raises:
        SourceMissing: one has gone or is damaged.
    """
    return np.stack([letterbox(load(picture), height, width).picture for picture in pictures])


def choose(pictures: Sequence[LabelledPicture], count: int, seed: int) -> list[LabelledPicture]:
    """``count`` of the pictures (all, when there are fewer), the same for the same seed."""
    size = min(count, len(pictures))
    chosen = np.random.default_rng([seed, count]).choice(len(pictures), size, replace=False)
    return [pictures[int(index)] for index in chosen]


def start_from_coco(file: Path, pictures: Sequence[LabelledPicture], plan: Plan) -> Network:
    """The COCO start, its statistics estimated on training pictures.

    Raises:
        ModelError: the file is missing or has another network.
        SourceMissing: a picture has gone or is damaged.
    """
    chosen = letterboxed(choose(pictures, NORM_PICTURES, plan.seed), plan.height, plan.width)
    network = load_coco(file, chosen.astype(np.float32))
    parts = [Part(pictures, plan.batch)]
    drawn = [make_batch(parts, plan, step).pictures.astype(np.float32) for step in range(STATISTICS_BATCHES)]
    estimate_statistics(network, drawn)
    return network


def train_base(
    start_file: Path,
    pictures: Sequence[LabelledPicture],
    plan: Plan,
    checkpoint: Path,
    *,
    say: Callable[[str], None] = print,
) -> tuple[Network, Result]:
    """Trains the base model, or goes on where the checkpoint is; a finished run is only loaded.

    Returns:
        The network with averaged weights, and how the run ended.

    Raises:
        UsageError: there are no pictures, or the checkpoint belongs to other settings.
        AgentError: a file is missing or damaged, see ``start_from_coco`` and ``Trainer.run``.
    """
    _some(pictures, "training")
    resumed = checkpoint.exists()
    trainer = Trainer(build_network() if resumed else start_from_coco(start_file, pictures, plan), plan)
    return _run(trainer, [Part(pictures, plan.batch)], checkpoint, say)


def train_round(
    weights: Path,
    new: Sequence[LabelledPicture],
    old: Sequence[LabelledPicture],
    plan: Plan,
    checkpoint: Path,
    *,
    replay_share: float = 0.5,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
    spec: NetworkSpec = NANO,
) -> tuple[Network, Result]:
    """A later round: on from float weights, each batch a part of new and a part of old pictures.

    The old part is what keeps the old sites: without it a trial lost a third of their mAP50. Without old pictures a
    batch is all new, and the plan's ``distil``, ``freeze`` and ``blend`` are what is left.

    Args:
        weights: what ``export.save_weights`` wrote.
        new: pictures of the round.
        old: pictures of earlier rounds.
        plan: see ``schedule.round_plan``.
        checkpoint: where the round's state is kept.
        replay_share: of old pictures in a batch, in [0, 0.9].
        say: takes each line of progress.
        progress: told after each step the number done and the number of all.
        spec: of the network that the weights belong to.

    Returns:
        The network with averaged weights, and how the run ended.

    Raises:
        UsageError: there are no new pictures, or the checkpoint belongs to other settings.
        AgentError: a file is missing or damaged.
    """
    _some(new, "new")
    share = old_in_batch(plan.batch, replay_share) if old else 0
    parts = [Part(new, plan.batch - share)] + ([Part(old, share)] if share else [])
    teacher = load_weights(weights, spec) if plan.distil or plan.blend else None
    return _run(Trainer(load_weights(weights, spec), plan, teacher), parts, checkpoint, say, progress)


def old_in_batch(batch: int, replay_share: float) -> int:
    """How many pictures of a batch are old ones: at least one stays new."""
    return min(round(batch * replay_share), batch - 1)


def _some(pictures: Sequence[LabelledPicture], kind: str) -> None:
    if not pictures:
        raise UsageError(f"no {kind} pictures to train on")


def _run(
    trainer: Trainer,
    parts: Sequence[Part],
    checkpoint: Path,
    say: Callable[[str], None],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Network, Result]:
    trainer.resume(checkpoint, say)
    count = sum(len(part.pictures) for part in parts)
    plan = trainer.plan
    say(f"{count} training pictures, {plan.steps} steps of {plan.batch}: {plan.steps * plan.batch / count:.1f} passes")
    result = trainer.run(parts, checkpoint, say, progress)
    return trainer.use_average(), result
