# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helmet_cloud.training import rounding
from helmet_cloud.training.network import ConvUnit, Network, NetworkSpec, build_network
from helmet_cloud.training.rounding import STEPS, on_steps, round_weights

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.training

TINY = NetworkSpec(base=4)


def all_units(network: Network) -> list[ConvUnit]:
    return [*network.units, *network.class_units, *network.box_units]


def steps_of(unit: ConvUnit) -> np.ndarray:
    """The kernel in steps of its output channels."""
    kernel = unit.conv.get_weights()[0]
    axes = (0, 1, 3) if isinstance(unit.conv, keras.layers.DepthwiseConv2D) else (0, 1, 2)
    return kernel / np.abs(kernel).max(axes, keepdims=True) * STEPS


def to_nearest(network: Network, _pictures: np.ndarray) -> None:
    for unit in all_units(network):
        kernel, bias = unit.conv.get_weights()
        steps = steps_of(unit)
        unit.conv.set_weights([np.round(steps) * kernel / np.where(steps == 0, 1, steps), bias])


def deployed(seed: int) -> Network:
    keras.utils.set_random_seed(seed)
    return build_network(TINY, deploy=True)


def pictures(seed: int, count: int = 4) -> np.ndarray:
    small = np.random.default_rng(seed).uniform(0, 255, (count, 8, 12, 3)).astype(np.float32)
    return small.repeat(8, 1).repeat(8, 2)  # neighbours are alike, as in pictures


def error(seed: int, treat: Callable[[Network, np.ndarray], None]) -> float:
    network, unseen = deployed(seed), pictures(seed + 100)
    before = network.model(unseen)
    treat(network, pictures(seed))
    after = network.model(unseen)
    return sum(float(np.square(np.asarray(b) - np.asarray(a)).mean()) for a, b in zip(before, after, strict=True))


def test_every_kernel_lies_on_its_steps_and_keeps_its_largest_weight() -> None:
    network = deployed(1)
    largest = [np.abs(unit.conv.get_weights()[0]).max() for unit in all_units(network)]
    round_weights(network, pictures(1))
    for unit, before in zip(all_units(network), largest, strict=True):
        steps = steps_of(unit)
        assert steps == pytest.approx(np.round(steps), abs=1e-3)
        assert np.abs(unit.conv.get_weights()[0]).max() == pytest.approx(before, rel=1e-6)


def test_answers_on_other_pictures_change_less_than_when_rounded_to_nearest() -> None:
    assert error(0, round_weights) < 0.5 * error(0, to_nearest)


def test_a_bias_takes_up_what_is_left_of_the_mean() -> None:
    keras.utils.set_random_seed(4)
    layer = keras.layers.Conv2D(5, 1)
    inputs = np.random.default_rng(0).normal(3, 2, (2, 16, 16, 8)).astype(np.float32)
    wanted = np.asarray(layer(inputs)) + 0.25  # the layers before it have moved its inputs
    rounding._round_convolution(layer, inputs, wanted, np.random.default_rng(0))
    assert np.asarray(layer(inputs)).mean((0, 1, 2)) == pytest.approx(wanted.mean((0, 1, 2)), abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_later_weights_make_up_for_earlier_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # all nine inputs say nearly the same, as neighbours in a picture do: what counts is the sum of the weights
    inputs = (rng.uniform(0, 6, (500, 1)) + rng.normal(0, 0.1, (500, 9))).astype(np.float32)
    kernel = rng.normal(0, 1, (9, 8)).astype(np.float32)
    step = np.abs(kernel).max(0) / STEPS
    centred = inputs - inputs.mean(0)
    fitted, nearest = on_steps(kernel, inputs), np.round(kernel / step) * step
    assert np.square(centred @ (fitted - kernel)).sum() < 0.3 * np.square(centred @ (nearest - kernel)).sum()


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(5, 6, 2, padding="same"),
        keras.layers.Conv2D(5, 1),
        keras.layers.DepthwiseConv2D(3, 1, padding="same"),
        keras.layers.DepthwiseConv2D(3, 2, padding="valid"),
    ],
    ids=["stem", "pointwise", "depthwise", "halving"],
)
def test_patches_are_what_the_kernel_lies_over(layer: keras.Layer) -> None:
    inputs = np.random.default_rng(0).normal(size=(2, 17, 20, 3)).astype(np.float32)
    answers = np.asarray(layer(inputs))
    patches = rounding._patches(layer, inputs, answers.shape, np.random.default_rng(3))
    again = np.random.default_rng(3)
    places = tuple(again.integers(0, limit, len(patches)) for limit in answers.shape[:3])
    kernel, bias = layer.get_weights()
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        expected = np.einsum("skc,kc->sc", patches, kernel.reshape(9, -1))
    else:
        expected = patches.reshape(len(patches), -1) @ kernel.reshape(-1, kernel.shape[-1])
    assert answers[places] == pytest.approx(expected + bias, abs=1e-4)


def test_the_same_pictures_give_the_same_weights() -> None:
    first, second = deployed(5), deployed(5)
    for network in (first, second):
        round_weights(network, pictures(5))
    assert all(np.array_equal(a, b) for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True))


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.float32, (9, 3), elements=st.floats(-2, 2, width=32).map(lambda value: round(value, 3))),
    arrays(np.float32, (20, 9), elements=st.floats(0, 6, width=32)),
)
def test_any_kernel_and_any_inputs_give_finite_steps(kernel: np.ndarray, inputs: np.ndarray) -> None:
    found = on_steps(kernel, inputs)
    step = np.abs(kernel).max(0) / STEPS
    assert np.isfinite(found).all()
    assert np.abs(found).max(0) == pytest.approx(np.abs(kernel).max(0), rel=1e-5)
    whole = found / np.where(step > 0, step, 1)
    assert whole == pytest.approx(np.round(whole), abs=1e-2)
