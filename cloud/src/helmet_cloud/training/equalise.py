# SPDX-License-Identifier: Apache-2.0
"""Make channels equally loud before int8 gives all channels of an activation one scale.

A channel whose values end at .3 uses 13 of 256 steps when its loudest neighbour reaches 6. Where a convolution feeds
nothing but a depthwise convolution, such a channel can be made louder there and quieter again in the depthwise kernel,
whose int8 form has a scale for each channel: the function is the same, the rounding smaller. After Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721; here ReLU6 sets the limit.

Without it the rounding of the stem's output alone moved the logits of small objects by .35, and their order with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from helmet_cloud.training.network import ConvUnit, Network

CEILING = 5.0
"""Where the loudest value of a raised channel comes to lie: below 6, so that unseen pictures are hardly ever cut."""

MOST = 100.0
"""Largest factor: a channel that says nothing need not shout."""


def equalise(deployed: Network, pictures: NDArray[np.float32]) -> None:
    """Raises quiet channels in place, as far as ReLU6 lets them.

    Args:
        deployed: without batch norm.
        pictures: ``[N, H, W, 3]`` BGR 0..255, letterboxed; they tell how loud channels get.
    """
    pairs = sole_pairs(deployed)
    probe = keras.Model(deployed.model.input, [first.conv.output for first, _ in pairs])
    peaks = [np.zeros(first.conv.output.shape[-1]) for first, _ in pairs]
    for picture in pictures:
        for peak, output in zip(peaks, probe(picture[None]), strict=True):
            np.maximum(peak, np.asarray(output).max((0, 1, 2)), out=peak)
    for (first, second), peak in zip(pairs, peaks, strict=True):
        gain = np.clip(CEILING / np.maximum(peak, CEILING / MOST), 1.0, MOST).astype(np.float32)
        kernel, bias = first.conv.get_weights()
        depthwise = isinstance(first.conv, keras.layers.DepthwiseConv2D)
        first.conv.set_weights([kernel * (gain[:, None] if depthwise else gain), bias * gain])
        kernel, bias = second.conv.get_weights()
        second.conv.set_weights([kernel / gain[:, None], bias])


def sole_pairs(deployed: Network) -> list[tuple[ConvUnit, ConvUnit]]:
    """Every unit whose output goes into one depthwise convolution and nowhere else, with that one's unit."""
    makers: dict[int, Any] = {}
    users: dict[int, list[Any]] = {}
    for layer in deployed.model.layers:
        makers[id(layer.output)] = layer
        for tensor in keras.tree.flatten(layer.input):
            users.setdefault(id(tensor), []).append(layer)
    units = {id(unit.conv): unit for unit in deployed.units}
    pairs = []
    for second in deployed.units:
        if not isinstance(second.conv, keras.layers.DepthwiseConv2D):
            continue
        tensor = second.conv.input
        if isinstance(makers[id(tensor)], keras.layers.ZeroPadding2D):
            tensor = makers[id(tensor)].input
        activation = makers[id(tensor)]
        if isinstance(activation, keras.layers.Activation) and len(users[id(tensor)]) == 1:
            pairs.append((units[id(makers[id(activation.input)])], second))
    return pairs
