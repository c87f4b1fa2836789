# SPDX-License-Identifier: Apache-2.0
"""The base model's training: several cycles, each with a rate that rises once and falls, each from the one before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from helmet_agent.durable import make_folder, write_atomic
from helmet_cloud.evaluation import open_detector
from helmet_cloud.training import bundle, export
from helmet_cloud.training.missing_heads import complete_heads
from helmet_cloud.training.runs import choose, letterboxed, train_base, train_round
from helmet_cloud.training.schedule import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from helmet_agent.detector import HelmetDetector
    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.training.network import Network
    from helmet_cloud.training.sources import BaseData

_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Cycle:
    """One rise and fall of the learning rate.

    Attributes:
        name: of its checkpoint and of its folder.
        plan: its settings.
        completes_heads: whether heads without a box are boxed by what the first cycle has learned; see missing_heads.
        share: of its weights in the average that ships, beside those of the others.
    """

    name: str
    plan: Plan
    completes_heads: bool = False
    share: float = 1.0

    def checkpoint(self, work: Path) -> Path:
        """All state of the cycle."""
        return work / f"{self.name}.npz"


_LATER = Plan(final_rate=1e-5, plain_share=0.25)

CYCLES = (
    Cycle("first", Plan()),
    Cycle("smaller", replace(_LATER, steps=2200, seed=20261126, peak_rate=7e-4, scale_low=0.25), share=0.0),
    Cycle(
        "heads",
        replace(_LATER, steps=3000, seed=20261127, peak_rate=8e-4, scale_low=0.22, nine_share=0.4),
        completes_heads=True,
        share=2.0,
    ),
)
"""What makes the bundled model. The later cycles zoom out further; the first one's share keeps the large heads."""

RESULT = "model"
"""Folder of the averaged weights' files."""


def shortened(steps: Sequence[int], seed: int | None = None, *, head_points: bool = True) -> tuple[Cycle, ...]:
    """The first of the cycles with other numbers of steps, and, with a seed, with seeds that count up from it.

    Without ``head_points`` none of them completes heads: nothing says where the missing ones are.
    """
    chosen = []
    for index, (cycle, count) in enumerate(zip(CYCLES, steps, strict=False)):
        own = cycle.plan.seed if seed is None else seed + index
        plan = replace(cycle.plan, steps=count, seed=own)
        chosen.append(replace(cycle, plan=plan, completes_heads=cycle.completes_heads and head_points))
    return tuple(chosen)


def train_cycles(
    start: Path, base: BaseData, cycles: Sequence[Cycle], work: Path, say: Callable[[str], None] = print
) -> bool:
    """Trains all cycles, or goes on below ``work``; False when a signal stopped it.

    Args:
        start: the COCO weights' file.
        base: the pictures.
        cycles: what to do, at least one.
        work: takes a checkpoint and a folder with the weights of each cycle.
        say: takes each line of progress.

    Raises:
        AgentError: a file is missing or damaged, or a checkpoint belongs to other settings.
    """
    for index, cycle in enumerate(cycles):
        say(f"cycle {index + 1} of {len(cycles)}: {cycle.name}")
        pictures: Sequence[LabelledPicture] = base.training
        if cycle.completes_heads:
            detector = _float_detector(cycles[0].checkpoint(work), work / cycles[0].name)
            pictures = complete_heads(pictures, base.head_points, detector, say)
        checkpoint = cycle.checkpoint(work)
        if index == 0:
            network, result = train_base(start, pictures, cycle.plan, checkpoint, say=say)
        else:
            before = work / cycles[index - 1].name / bundle.WEIGHTS
            network, result = train_round(before, pictures, [], cycle.plan, checkpoint, say=say)
        if result.interrupted:
            return False
        export.save_weights(network, work / cycle.name / bundle.WEIGHTS)
    return True


def averaged(cycles: Sequence[Cycle], work: Path) -> Network:
    """A network with the mean of the cycles' weights, each by its share.

    Raises:
        ModelError: a cycle's weights are missing or damaged.
    """
    whole = sum(cycle.share for cycle in cycles)
    networks = [export.load_weights(work / cycle.name / bundle.WEIGHTS) for cycle in cycles]
    values = [
        sum(value * (cycle.share / whole) for cycle, value in zip(cycles, same, strict=True))
        for same in zip(*(network.model.get_weights() for network in networks), strict=True)
    ]
    networks[-1].model.set_weights(values)
    return networks[-1]


def _float_detector(checkpoint: Path, folder: Path) -> HelmetDetector:
    """A finished cycle's network without quantisation, from its weights."""
    model = folder / bundle.FLOAT_MODEL
    if not _up_to_date(model, checkpoint):
        write_atomic(model, export.to_float16(export.load_weights(folder / bundle.WEIGHTS)), mode=_FILE_MODE)
    bundle.first_manifest(folder, bundle.Origin(folder.name, 1, "0" * 64), bundle.FLOAT_MODEL)
    return open_detector(model)


def _up_to_date(path: Path, checkpoint: Path) -> bool:
    return path.exists() and path.stat().st_mtime > checkpoint.stat().st_mtime


def export_average(
    cycles: Sequence[Cycle], pictures: Sequence[LabelledPicture], work: Path, say: Callable[[str], None] = print
) -> None:
    """int8, float16 and weights of the trained cycles' mean, unless they are there and newer than the last checkpoint.

    Args:
        cycles: trained below ``work``.
        pictures: of the training part; some of them set the ranges of int8.
        work: as ``train_cycles`` left it; its folder ``RESULT`` takes the files.
        say: takes each line of progress.

    Raises:
        ModelError: a cycle's weights are missing or damaged, or the converter made another layout than agreed.
    """
    folder = work / RESULT
    make_folder(folder)
    paths = [folder / name for name in (bundle.MODEL, bundle.FLOAT_MODEL, bundle.WEIGHTS)]
    if all(_up_to_date(path, cycles[-1].checkpoint(work)) for path in paths):
        say(f"exported files are there already: {folder}")
        return
    say(f"exporting to {folder}")
    network, plan = averaged(cycles, work), cycles[-1].plan
    # the same pictures whatever the cycles: files then differ by their weights alone
    chosen = choose(pictures, export.CALIBRATION_PICTURES, CYCLES[0].plan.seed)
    calibration = letterboxed(chosen, plan.height, plan.width)
    write_atomic(paths[0], export.to_int8(network, calibration), mode=_FILE_MODE)
    write_atomic(paths[1], export.to_float16(network), mode=_FILE_MODE)
    export.save_weights(network, paths[2])
