# SPDX-License-Identifier: Apache-2.0
"""Batches as a function of seed and step: a resumed run sees exactly the pictures that it would have seen."""

from __future__ import annotations

import functools
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from helmet_cloud.training import augment
from helmet_cloud.training.dataset import class_mask, load

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from helmet_cloud.labels import LabelledPicture
    from helmet_cloud.training.augment import Labelled
    from helmet_cloud.training.schedule import Plan

_AHEAD = 4  # batches made in advance; OpenCV lets go of the interpreter's lock, so one thread keeps up
_FOUR = 4


@dataclass(frozen=True, slots=True)
class Marks:
    """Boxes of a whole batch in one flat list of G: padding to the fullest picture would cost ten times the memory.

    Attributes:
        boxes: ``[G, 4]`` float32, corners in px of the input.
        classes: ``[G]`` int32.
        owners: ``[G]`` int32, the picture that each belongs to.
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int32]
    owners: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        pictures: ``[B, H, W, 3]`` uint8, BGR.
        objects: what is there.
        undecided: regions that count neither for nor against their class.
        mask: ``[B, C]`` float32, 1 where the picture is completely labelled for the class.
    """

    pictures: NDArray[np.uint8]
    objects: Marks
    undecided: Marks
    mask: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """Pictures of which ``count`` go into every batch; a later round mixes a part of new with a part of old ones."""

    pictures: Sequence[LabelledPicture]
    count: int


@functools.lru_cache(maxsize=8)
def _permutation(count: int, seed: int, turn: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, turn, count]).permutation(count)


def indices(count: int, size: int, step: int, seed: int) -> list[int]:
    """Which ``size`` of ``count`` pictures a step takes: shuffled passes, one after the other."""
    places = (divmod(position, count) for position in range(step * size, (step + 1) * size))
    return [int(_permutation(count, seed, turn)[offset]) for turn, offset in places]


def make_batch(parts: Sequence[Part], plan: Plan, step: int) -> Batch:
    """The batch of one step.

    Raises:
        SourceMissing: a picture has gone or is damaged.
    """
    rng = np.random.default_rng([plan.seed, step])
    chosen = [
        (part.pictures, part.pictures[index])
        for part in parts
        for index in indices(len(part.pictures), part.count, step, plan.seed)
    ]
    items = [_augmented(picture, pictures, plan, step, rng) for pictures, picture in chosen]
    return Batch(
        np.stack([item.picture for item in items]),
        _marks(items, undecided=False),
        _marks(items, undecided=True),
        np.stack([class_mask(picture) for _, picture in chosen]),
    )


def _marks(items: Sequence[Labelled], *, undecided: bool) -> Marks:
    wanted = [item.undecided == undecided for item in items]
    return Marks(
        np.concatenate([item.boxes[keep] for item, keep in zip(items, wanted, strict=True)]).astype(np.float32),
        np.concatenate([item.classes[keep] for item, keep in zip(items, wanted, strict=True)]).astype(np.int32),
        np.repeat(np.arange(len(items), dtype=np.int32), [int(keep.sum()) for keep in wanted]),
    )


def _augmented(
    picture: LabelledPicture, pictures: Sequence[LabelledPicture], plan: Plan, step: int, rng: np.random.Generator
) -> Labelled:
    height, width = plan.height, plan.width
    if rng.random() < plan.mosaic(step):
        count = augment.NINE if rng.random() < plan.nine_share else _FOUR
        items = [load(picture), *(load(other) for other in _partners(picture, pictures, count - 1, rng))]
        return augment.finish(augment.mosaic(items, height, width, rng), rng)
    scales = (plan.scale_low, plan.scale_high)
    return augment.finish(augment.single(load(picture), height, width, rng, scales), rng)


def _partners(
    picture: LabelledPicture, pictures: Sequence[LabelledPicture], count: int, rng: np.random.Generator
) -> list[LabelledPicture]:
    """Others complete for the same labels: one heads-only tile would take the persons of all tiles out of the loss."""
    found: list[LabelledPicture] = []
    while len(found) < count:
        other = pictures[int(rng.integers(len(pictures)))]
        if other.complete == picture.complete:
            found.append(other)
    return found


def batches(parts: Sequence[Part], plan: Plan, first_step: int) -> Generator[Batch]:
    """Batches from ``first_step`` to the end of the plan, made ahead in one background thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting: deque[Future[Batch]] = deque()
        following = first_step
        try:
            while following < plan.steps or waiting:
                while following < plan.steps and len(waiting) < _AHEAD:
                    waiting.append(pool.submit(make_batch, parts, plan, following))
                    following += 1
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
