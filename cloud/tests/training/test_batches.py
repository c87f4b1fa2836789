# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helmet_agent.errors import SourceMissing
from helmet_cloud.training.batches import Batch, Part, batches, indices, make_batch
from helmet_cloud.training.schedule import Plan

if TYPE_CHECKING:
    from helmet_cloud.labels import LabelledPicture

PLAN = Plan(steps=6, batch=4, seed=3, height=64, width=96)


def same(one: Batch, other: Batch) -> bool:
    pairs = [(one.pictures, other.pictures), (one.mask, other.mask)]
    pairs += [(one.objects.boxes, other.objects.boxes), (one.objects.owners, other.objects.owners)]
    return all(np.array_equal(a, b) for a, b in pairs)


def test_step_and_seed_decide_a_batch(pictures: list[LabelledPicture]) -> None:
    parts = [Part(pictures, 4)]
    assert same(make_batch(parts, PLAN, 2), make_batch(parts, PLAN, 2))
    assert not same(make_batch(parts, PLAN, 2), make_batch(parts, PLAN, 3))


def test_later_start_gives_the_same_batches(pictures: list[LabelledPicture]) -> None:
    parts = [Part(pictures, 4)]
    whole, rest = list(batches(parts, PLAN, 0)), list(batches(parts, PLAN, 4))
    assert len(whole) == 6
    assert len(rest) == 2
    assert all(same(a, b) for a, b in zip(whole[4:], rest, strict=True))


def test_every_picture_comes_once_a_pass() -> None:
    seen = [index for step in range(15) for index in indices(20, 4, step, seed=5)]
    assert [Counter(seen[start : start + 20]) for start in (0, 20, 40)] == [Counter(range(20))] * 3
    assert seen[:20] != seen[20:40]


def test_fewer_pictures_than_a_batch_takes() -> None:
    assert Counter(indices(3, 12, 0, seed=1)) == {0: 4, 1: 4, 2: 4}


def test_parts_keep_their_share(pictures: list[LabelledPicture]) -> None:
    complete = [p for p in pictures if "person" in p.complete]
    heads = [p for p in pictures if "person" not in p.complete]
    batch = make_batch([Part(complete, 3), Part(heads, 2)], PLAN, 0)
    assert batch.mask[:, 0].tolist() == [1, 1, 1, 0, 0]
    assert not any(batch.objects.classes[batch.objects.owners >= 3] == 0)


def test_mosaics_mix_only_pictures_labelled_for_the_same(pictures: list[LabelledPicture]) -> None:
    plan = Plan(steps=40, batch=4, height=64, width=96, mosaic_share=1.0, plain_share=0.0)
    for step in range(6):
        batch = make_batch([Part(pictures, 4)], plan, step)
        persons = batch.objects.owners[batch.objects.classes == 0]
        assert all(batch.mask[owner, 0] == 1 for owner in persons)


def test_marks_lie_inside_and_belong_to_their_picture(pictures: list[LabelledPicture]) -> None:
    batch = make_batch([Part(pictures, 12)], PLAN, 0)
    boxes = batch.objects.boxes
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (96, 64)).all()
    assert set(batch.objects.owners.tolist()) <= set(range(12))


def test_damaged_picture_ends_the_run_with_its_name(pictures: list[LabelledPicture]) -> None:
    gone = [type(p)(p.path.with_name("gone.png"), p.width, p.height, p.boxes, p.complete) for p in pictures[:1]]
    with pytest.raises(SourceMissing, match="gone"):
        list(batches([Part(gone, 4)], PLAN, 0))
