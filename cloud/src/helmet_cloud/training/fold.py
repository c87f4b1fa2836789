# SPDX-License-Identifier: Apache-2.0
"""From the training form of the network to the deployed one: batch norm folded in, class logits lifted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from helmet_cloud.training.network import NANO, ConvUnit, Network, NetworkSpec, build_network, stem_on_cells
from helmet_cloud.training.norm import EPSILON

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CLASS_LOGIT_OFFSET = 8.0
"""Class logits reach -45; quantised over that range a step would be .2 and scores would tie. Everything below -8 (a
score of .0003) is nothing anyway: +8 and ReLU leave 0 .. about 12, in steps of .04. Decoding subtracts it."""


def fold_unit(unit: ConvUnit) -> list[NDArray[np.float32]]:
    """Kernel and bias of the convolution that equals this convolution with its batch norm at inference."""
    if unit.norm is None:
        return [np.asarray(weight, np.float32) for weight in unit.conv.get_weights()]
    (kernel,) = unit.conv.get_weights()
    gamma, beta, mean, variance = unit.norm.get_weights()
    scale = gamma / np.sqrt(variance + EPSILON)
    depthwise = isinstance(unit.conv, keras.layers.DepthwiseConv2D)
    # a depthwise kernel is [h, w, channels, 1], any other [h, w, in, channels]
    folded = kernel * (scale[:, None] if depthwise else scale)
    return [folded.astype(np.float32), (beta - mean * scale).astype(np.float32)]


def fold(network: Network, spec: NetworkSpec = NANO) -> Network:
    """The deployed form of a trained network: without batch norm, its stem over 2x2 cells."""
    deployed = build_network(spec, deploy=True)
    sources = [*network.units, *network.class_units, *network.box_units]
    targets = [*deployed.units, *deployed.class_units, *deployed.box_units]
    for source, target in zip(sources, targets, strict=True):
        kernel, bias = fold_unit(source)
        target.conv.set_weights([stem_on_cells(kernel) if source is sources[0] else kernel, bias])
    return deployed


def lift_logits(outputs: Sequence[Any]) -> list[Any]:
    """Class maps (every second output) as relu(logit + 8), box maps unchanged."""
    return [tf.nn.relu(x + CLASS_LOGIT_OFFSET) if index % 2 == 0 else x for index, x in enumerate(outputs)]


def frozen_function(deployed: Network, height: int, width: int) -> Any:
    """A concrete function float32 ``[1, height, width, 3]`` to six maps, its variables turned into constants.

    The TFLite converter fails on the variables of a Keras 3 model (READ_VARIABLE) unless they are frozen first.
    """

    @tf.function(input_signature=[tf.TensorSpec([1, height, width, 3], tf.float32, name="image")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def infer(image: Any) -> Any:
        return lift_logits(deployed.model(image, training=False))

    return convert_variables_to_constants_v2(infer.get_concrete_function())
