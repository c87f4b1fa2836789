# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from helmet_cloud.training.fold import CLASS_LOGIT_OFFSET, fold, lift_logits
from helmet_cloud.training.network import Cells, NetworkSpec, Upsample, build_network, stem_on_cells, stem_on_pixels

pytestmark = pytest.mark.training

TINY = NetworkSpec(base=4)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


def test_nano_has_the_size_and_the_maps_of_the_contract() -> None:
    network = build_network()
    shapes = [tuple(x.shape) for x in network.model(np.zeros((2, 352, 640, 3), np.float32))]
    grids = [(44, 80), (22, 40), (11, 20)]
    assert shapes == [(2, *grid, 4) for grid in grids for _ in ("classes", "boxes")]
    assert sum(int(np.prod(v.shape)) for v in network.model.trainable_variables) == pytest.approx(0.9e6, rel=0.02)


@pytest.mark.parametrize("size", [(64, 96), (352, 640), (32, 32)])
def test_any_multiple_of_the_largest_stride_fits(size: tuple[int, int]) -> None:
    outputs = build_network(TINY).model(np.zeros((1, *size, 3), np.float32))
    assert [tuple(x.shape[1:3]) for x in outputs[::2]] == [(size[0] // s, size[1] // s) for s in (8, 16, 32)]


def test_upsampling_repeats_pixels() -> None:
    x = noise(1, 3, 5, 8)
    assert np.array_equal(Upsample()(x), x.repeat(2, axis=1).repeat(2, axis=2))


def test_folded_form_is_the_same_function() -> None:
    network = build_network(TINY)
    network.model(noise(4, 64, 96, 3), training=True)  # moving statistics that are not the initial ones
    for unit in network.units:
        gamma, beta, *rest = unit.norm.get_weights()
        rng = np.random.default_rng(1)
        unit.norm.set_weights([gamma + rng.uniform(-0.3, 0.3, gamma.shape), beta + 0.1, *rest])
    picture = noise(1, 64, 96, 3, seed=2)
    trained = network.model(picture, training=False)
    deployed = fold(network, TINY).model(picture, training=False)
    for ours, theirs in zip(trained, deployed, strict=True):
        assert np.asarray(theirs) == pytest.approx(np.asarray(ours), abs=1e-3)


def test_stem_over_cells_is_the_stem_over_pixels() -> None:
    pixels = noise(6, 6, 3, 5, seed=3)
    cells = stem_on_cells(pixels)
    picture = noise(1, 12, 20, 3)
    whole = tf.nn.conv2d(picture, pixels, 2, "SAME")
    assert np.asarray(tf.nn.conv2d(Cells()(picture), cells, 1, "SAME")) == pytest.approx(np.asarray(whole), rel=1e-5)
    assert np.array_equal(stem_on_pixels(cells), pixels)


def test_lifted_logits_are_cut_at_zero_and_boxes_are_not_touched() -> None:
    maps = [tf.constant([-20.0, -8.0, 1.5])] * 2
    classes, boxes = lift_logits(maps)
    assert np.asarray(classes).tolist() == [0.0, 0.0, 1.5 + CLASS_LOGIT_OFFSET]
    assert np.asarray(boxes).tolist() == [-20.0, -8.0, 1.5]


def test_training_moves_statistics_and_inference_does_not() -> None:
    network = build_network(TINY)
    norm = network.units[0].norm
    before = norm.moving_mean.numpy().copy()
    network.model(noise(2, 64, 96, 3), training=False)
    assert np.array_equal(before, norm.moving_mean.numpy())
    network.model(noise(2, 64, 96, 3), training=True)
    assert not np.array_equal(before, norm.moving_mean.numpy())
