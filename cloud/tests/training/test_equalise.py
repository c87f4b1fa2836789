# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import keras
import numpy as np
import pytest

from helmet_cloud.training.equalise import CEILING, equalise, sole_pairs
from helmet_cloud.training.network import Network, NetworkSpec, build_network

pytestmark = pytest.mark.training

TINY = NetworkSpec(base=4)


@pytest.fixture
def deployed() -> Network:
    keras.utils.set_random_seed(3)
    return build_network(TINY, deploy=True)


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 4, (4, 64, 96, 3)).astype(np.float32)


def peaks(network: Network, pictures: np.ndarray) -> np.ndarray:
    stem = keras.Model(network.model.input, network.units[0].conv.output)
    return np.asarray(stem(pictures)).max((0, 1, 2))


def test_pairs_are_those_that_nothing_else_listens_to(deployed: Network) -> None:
    pairs = sole_pairs(deployed)
    assert pairs[0] == (deployed.units[0], deployed.units[1])
    assert all(isinstance(second.conv, keras.layers.DepthwiseConv2D) for _, second in pairs)
    # levels 3 and 4 go into the neck as well as downwards, a head's stem into both branches
    assert 0 < len(pairs) < sum(isinstance(unit.conv, keras.layers.DepthwiseConv2D) for unit in deployed.units)


def test_quiet_channels_rise_and_the_function_stays(deployed: Network, pictures: np.ndarray) -> None:
    before, quiet = deployed.model(pictures), peaks(deployed, pictures)
    equalise(deployed, pictures)
    loud = peaks(deployed, pictures)
    rising = (quiet > 0.1) & (quiet < CEILING)
    assert rising.any()
    assert loud[rising] == pytest.approx(CEILING, rel=1e-3)
    for a, b in zip(before, deployed.model(pictures), strict=True):
        assert np.asarray(b) == pytest.approx(np.asarray(a), abs=1e-3)


def test_loud_and_silent_channels_are_left_in_bounds(deployed: Network, pictures: np.ndarray) -> None:
    kernel, bias = deployed.units[0].conv.get_weights()
    kernel[..., 0], bias[0] = 0.0, -1.0  # never above zero
    kernel[..., 1] *= 100.0
    deployed.units[0].conv.set_weights([kernel, bias])
    equalise(deployed, pictures)
    raised = deployed.units[0].conv.get_weights()[0]
    assert np.array_equal(raised[..., 1], kernel[..., 1])
    assert all(np.isfinite(weight).all() for unit in deployed.units for weight in unit.conv.get_weights())
