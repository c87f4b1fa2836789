# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from helmet_cloud.training.assign import Objects
from helmet_cloud.training.losses import Losses, Targets, detection_loss

pytestmark = pytest.mark.training

HEIGHT, WIDTH = 64, 96
SHAPES = [(8, 12), (4, 6), (2, 3)]
BOX = [16.0, 8.0, 64.0, 56.0]
NOTHING = Objects(tf.zeros([0, 4]), tf.zeros([0], tf.int32), tf.zeros([0], tf.int32))


def marks(*found: tuple[list[float], int, int]) -> Objects:
    boxes, labels, owners = zip(*found, strict=True)
    return Objects(tf.constant(boxes, tf.float32), tf.constant(labels, tf.int32), tf.constant(owners, tf.int32))


def maps(pictures: int = 2, seed: int = 0) -> list[tf.Variable]:
    rng = np.random.default_rng(seed)
    return [tf.Variable(rng.normal(0, 1, (pictures, *s, 4)).astype(np.float32)) for s in SHAPES for _ in range(2)]


def gradients(outputs: list[tf.Variable], targets: Targets) -> tuple[Losses, list[np.ndarray]]:
    with tf.GradientTape() as tape:
        losses = detection_loss(outputs, HEIGHT, WIDTH, targets)
    return losses, [np.asarray(g) for g in tape.gradient(losses.total, outputs)]


def test_masked_class_gets_no_gradient_in_its_picture_and_all_elsewhere() -> None:
    mask = np.ones((2, 4), np.float32)
    mask[1, 0] = 0.0  # the second picture is labelled for heads only
    _, found = gradients(maps(), Targets(marks((BOX, 0, 0), (BOX, 2, 1)), NOTHING, mask))
    for classes in found[::2]:
        assert not classes[1, ..., 0].any()
        assert classes[0, ..., 0].all()
        assert classes[1, ..., 2].all()


def test_what_a_masked_class_says_changes_nothing() -> None:
    mask = np.ones((2, 4), np.float32)
    mask[1, 0] = 0.0
    targets = Targets(marks((BOX, 0, 0), (BOX, 2, 1)), NOTHING, mask)
    outputs = maps()
    before, _ = gradients(outputs, targets)
    for classes in outputs[::2]:
        changed = classes.numpy()
        changed[1, ..., 0] += 7.0
        classes.assign(changed)
    after, _ = gradients(outputs, targets)
    assert float(after.total) == pytest.approx(float(before.total), rel=1e-6)


def test_undecided_region_silences_its_class_there_and_nothing_else() -> None:
    region = marks(([0.0, 0.0, 32.0, 32.0], 3, 0))
    _, found = gradients(maps(), Targets(marks((BOX, 2, 1)), region, np.ones((2, 4), np.float32)))
    fine = found[0]  # stride 8: the region holds 4x4 cells
    assert not fine[0, :4, :4, 3].any()
    assert fine[0, 4:, :, 3].all()
    assert fine[0, :4, :4, 2].all()
    assert fine[1, :4, :4, 3].all()


def test_object_inside_an_undecided_region_still_counts() -> None:
    everything = marks(([0.0, 0.0, 96.0, 64.0], 2, 0))
    _, found = gradients(maps(1), Targets(marks((BOX, 2, 0)), everything, np.ones((1, 4), np.float32)))
    places = sum(int(np.count_nonzero(classes[..., 2])) for classes in found[::2])
    assert places == 10


def test_pictures_without_objects_teach_background_only() -> None:
    losses, found = gradients(maps(), Targets(NOTHING, NOTHING, np.ones((2, 4), np.float32)))
    assert np.isfinite(float(losses.total))
    assert float(losses.boxes) == 0.0
    assert all((classes > 0).all() for classes in found[::2])
    assert not any(boxes.any() for boxes in found[1::2])


def test_descent_finds_the_object() -> None:
    outputs = maps(1)
    targets = Targets(marks((BOX, 2, 0)), NOTHING, np.ones((1, 4), np.float32))
    first, _ = gradients(outputs, targets)
    optimiser = keras.optimizers.Adam(0.2)
    for _ in range(60):
        last, found = gradients(outputs, targets)
        optimiser.apply_gradients(zip([tf.constant(gradient) for gradient in found], outputs, strict=True))
    assert float(last.total) < 0.05 * float(first.total)
    assert float(last.boxes) < 0.3 * float(first.boxes)
