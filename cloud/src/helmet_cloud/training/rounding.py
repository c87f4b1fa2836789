# SPDX-License-Identifier: Apache-2.0
"""Which way each weight is rounded to int8, chosen so that a convolution's answers change least.

Rounding each weight to the nearest step is not the best that 255 steps can do: nine weights of a depthwise kernel that
are all rounded up make its channel louder everywhere. Here weights are rounded one after the other, and those still to
come make up for the error so far, as far as the inputs of real pictures let them (the second-order rule of Frantar et
al., "GPTQ", arXiv:2210.17323, after Hassibi's optimal brain surgeon). Each convolution is treated with the inputs that
it gets from the rounded ones before it, and its bias takes up what is left of the mean (Nagel et al.,
arXiv:1906.04721).

On weights that nearly shipped, rounding to nearest moved the logits of small heads by .36 (standard deviation),
activations by .1; see the table of variants in the model card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from helmet_cloud.training.network import Network

STEPS = 127
"""Largest int8 weight; a channel's largest weight is exactly that, as the converter will have it."""

SAMPLES = 12_000
"""Places that a convolution is fitted on."""

DAMPING = 0.01
"""Of the mean of the inputs' variances: inputs that hardly ever occur must not send weights far away."""


def round_weights(deployed: Network, pictures: NDArray[np.float32], seed: int = 0) -> None:
    """Puts all kernels on int8's steps in place, in the order in which the network uses them.

    Args:
        deployed: without batch norm, equalised.
        pictures: ``[N, H, W, 3]`` BGR 0..255, letterboxed, of the training part.
        seed: of the choice of places.
    """
    rng = np.random.default_rng(seed)
    convolutions = {id(unit.conv) for unit in (*deployed.units, *deployed.class_units, *deployed.box_units)}
    exact: dict[int, Any] = {id(deployed.model.input): pictures}
    rounded = dict(exact)
    layers = [layer for layer in deployed.model.layers if not isinstance(layer, keras.layers.InputLayer)]
    last_use = {id(tensor): layer for layer in layers for tensor in keras.tree.flatten(layer.input)}
    for layer in layers:
        before, after = _inputs(layer, exact), _inputs(layer, rounded)
        for tensor in keras.tree.flatten(layer.input):
            if last_use[id(tensor)] is layer:  # all activations of all pictures at once would take gigabytes
                exact.pop(id(tensor), None)
                rounded.pop(id(tensor), None)
        exact[id(layer.output)] = np.asarray(layer(before))
        if id(layer) in convolutions:
            _round_convolution(layer, after, exact[id(layer.output)], rng)
        rounded[id(layer.output)] = np.asarray(layer(after))


def _inputs(layer: Any, values: Mapping[int, Any]) -> Any:
    return keras.tree.map_structure(lambda tensor: values[id(tensor)], layer.input)


def _round_convolution(
    layer: Any, inputs: NDArray[np.float32], wanted: NDArray[np.float32], rng: np.random.Generator
) -> None:
    """Rounds one kernel for its inputs; the bias then gives the wanted mean."""
    kernel, bias = layer.get_weights()
    patches = _patches(layer, inputs, wanted.shape, rng)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        columns = [on_steps(kernel[:, :, c].reshape(-1, 1), patches[:, :, c]) for c in range(kernel.shape[2])]
        chosen = np.stack(columns, axis=1).reshape(kernel.shape)
    else:
        chosen = on_steps(kernel.reshape(-1, kernel.shape[-1]), patches.reshape(len(patches), -1)).reshape(kernel.shape)
    layer.set_weights([chosen, bias])
    drift = (wanted - np.asarray(layer(inputs))).mean((0, 1, 2))
    layer.set_weights([chosen, bias + drift])


def _patches(
    layer: Any, inputs: NDArray[np.float32], answers: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float32]:
    """What the kernel lies over at random places: ``[SAMPLES, kernel height * width, channels]``."""
    sizes, (stride, _) = layer.kernel_size, layer.strides
    if layer.padding == "same":
        lacking = [
            max(0, (answer - 1) * stride + size - side)
            for answer, size, side in zip(answers[1:3], sizes, inputs.shape[1:3], strict=True)
        ]
        inputs = np.pad(inputs, [(0, 0), *((total // 2, total - total // 2) for total in lacking), (0, 0)])
    picture, row, column = (rng.integers(0, limit, SAMPLES) for limit in answers[:3])
    shifts = [(y, x) for y in range(sizes[0]) for x in range(sizes[1])]
    return np.stack([inputs[picture, row * stride + y, column * stride + x] for y, x in shifts], axis=1)


def on_steps(kernel: NDArray[np.float32], inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The kernel ``[K, outputs]`` on its steps, fitted to inputs ``[samples, K]``.

    A step is 1/127 of an output's largest weight, which stays as it is: the converter takes its step from it.
    """
    weights = kernel.astype(np.float64)
    largest = np.abs(weights).max(0)
    step = np.where(largest > 0, largest, 1.0) / STEPS
    moments = np.cov(inputs, rowvar=False, dtype=np.float64).reshape(len(weights), -1)
    scale = float(np.trace(moments)) / len(moments)
    moments += np.eye(len(moments)) * (DAMPING * scale if scale > 0 else 1.0)
    order = np.argsort(-np.diag(moments), kind="stable")
    weights = weights[order]
    kept = np.abs(weights).argmax(0)
    sign = np.sign(np.take_along_axis(weights, kept[None], 0)[0])
    factor = np.linalg.cholesky(np.linalg.inv(moments[np.ix_(order, order)])).T
    for index in range(len(weights)):
        steps = np.where(kept == index, sign * STEPS, np.clip(np.round(weights[index] / step), -STEPS, STEPS))
        error = (weights[index] - steps * step) / factor[index, index]
        weights[index] = steps * step
        weights[index + 1 :] -= np.outer(factor[index, index + 1 :], error)
    return weights[np.argsort(order)].astype(np.float32)
