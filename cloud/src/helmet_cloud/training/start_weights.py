# SPDX-License-Identifier: Apache-2.0
"""Start from the published YOLOX-nano (COCO, Apache-2.0), whose ONNX file has batch norm folded into convolutions.

Batch norm is rebuilt so that the function stays the same: the folded SiLU network runs on some training pictures, and
each convolution's output mean m and variance v give moving statistics, scale sqrt(v + eps) and offset m. After the
change to ReLU6 the moving statistics are estimated anew (``estimate_statistics``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import numpy_helper

from helmet_agent.errors import ModelError
from helmet_cloud.labels import LABELS
from helmet_cloud.training.classes import HEADS, LABEL_IDS
from helmet_cloud.training.network import NANO, Network, NetworkSpec, build_network, stem_on_cells, stem_on_pixels
from helmet_cloud.training.norm import EPSILON

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Weights = tuple["NDArray[np.float32]", "NDArray[np.float32]"]
"""Kernel ``[out, in, h, w]`` and bias ``[out]``, as ONNX has them."""

_COCO_PERSON = 0
_HEAD_CONVOLUTIONS = 12  # of a level: stem, two separable ones, class predictor, two separable ones, box and objectness
_CLASS_PREDICTOR, _BOX_PREDICTOR, _OBJECTNESS_PREDICTOR = 5, 10, 11
_NEVER, _HEADS_START = -6.0, -4.0  # class biases
_SMALLEST_VARIANCE = 1e-6


def read_onnx_convolutions(path: Path) -> list[Weights]:
    """Weights of every convolution, in execution order.

    Raises:
        ModelError: missing or no ONNX file.
    """
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf's own error class is not public
        raise ModelError(f"start weights cannot be read as ONNX ({error}): {path}") from error
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    return [(arrays[node.input[1]], arrays[node.input[2]]) for node in graph.node if node.op_type == "Conv"]


def stem_kernel(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Focus stem ``[out, 12, 3, 3]`` as the same function in one 6x6/2 kernel ``[6, 6, 3, out]``.

    YOLOX stacks the pixels of each 2x2 cell in the order top left, bottom left, top right, bottom right.
    """
    full = np.zeros((6, 6, 3, kernel.shape[0]), np.float32)
    for patch, (down, right) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
        full[down::2, right::2] = kernel[:, 3 * patch : 3 * patch + 3].transpose(2, 3, 1, 0)
    return full


def keras_kernel(kernel: NDArray[np.float32], layer: Any) -> NDArray[np.float32]:
    """ONNX ``[out, in, h, w]`` for Keras: ``[h, w, in, out]``, depthwise ``[h, w, channels, 1]``."""
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)


def load_coco(path: Path, pictures: NDArray[np.float32], spec: NetworkSpec = NANO) -> Network:
    """A training network with COCO weights.

    Args:
        path: YOLOX-nano as ONNX.
        pictures: ``[N, H, W, 3]`` BGR 0..255, letterboxed training pictures.
        spec: of the network to make.

    Raises:
        ModelError: the file is missing or has another network.
    """
    # batch norm is rebuilt on the function that the weights were trained for, with SiLU
    folded = build_network(replace(spec, activation="silu"), deploy=True)
    network = build_network(spec)
    units, predictors = _sort(read_onnx_convolutions(path), len(folded.units), path)
    for index, (unit, (kernel, bias)) in enumerate(zip(folded.units, units, strict=True)):
        converted = stem_on_cells(stem_kernel(kernel)) if index == 0 else keras_kernel(kernel, unit.conv)
        unit.conv.set_weights([converted, bias])
    _rebuild_norms(folded, network, pictures)
    for level, (classes, boxes, objectness) in enumerate(predictors):
        network.class_units[level].conv.set_weights(_class_start(classes, objectness))
        network.box_units[level].conv.set_weights([boxes[0].transpose(2, 3, 1, 0), boxes[1]])
    return network


def _sort(
    convolutions: Sequence[Weights], count: int, path: Path
) -> tuple[list[Weights], list[tuple[Weights, Weights, Weights]]]:
    """The units, and for each level the predictors of class, box and objectness."""
    body = len(convolutions) - 3 * _HEAD_CONVOLUTIONS
    units, predictors = list(convolutions[: max(body, 0)]), []
    for level in range(3):
        part = convolutions[body + _HEAD_CONVOLUTIONS * level :][:_HEAD_CONVOLUTIONS]
        units += [*part[:_CLASS_PREDICTOR], *part[_CLASS_PREDICTOR + 1 : _BOX_PREDICTOR]]
        if len(part) == _HEAD_CONVOLUTIONS:
            predictors.append((part[_CLASS_PREDICTOR], part[_BOX_PREDICTOR], part[_OBJECTNESS_PREDICTOR]))
    if len(units) != count:
        raise ModelError(f"start weights: expected YOLOX-nano, {count} convolutions and predictors: {path}")
    return units, predictors


def _class_start(classes: Weights, objectness: Weights) -> list[NDArray[np.float32]]:
    """Start of the joint class predictor: ``[1, 1, class features then box features, C]`` and bias ``[C]``.

    Persons start from COCO's person plus objectness; heads from half of that, rarer. A class that nothing is labelled
    for starts, and stays, at zero weights: it never fires.
    """
    person = np.concatenate([classes[0][_COCO_PERSON, :, 0, 0], objectness[0][0, :, 0, 0]])
    kernel = np.zeros((len(person), len(LABELS)), np.float32)
    bias = np.full(len(LABELS), _NEVER, np.float32)
    kernel[:, LABEL_IDS["person"]] = person
    bias[LABEL_IDS["person"]] = classes[1][_COCO_PERSON] + objectness[1][0]
    for label in HEADS:
        kernel[:, LABEL_IDS[label]] = 0.5 * person
        bias[LABEL_IDS[label]] = _HEADS_START
    return [kernel[None, None], bias]


def _rebuild_norms(folded: Network, network: Network, pictures: NDArray[np.float32]) -> None:
    probe = keras.Model(folded.model.input, [unit.conv.output for unit in folded.units])
    sums = [np.zeros((2, unit.conv.output.shape[-1])) for unit in folded.units]
    for picture in pictures:
        for total, output in zip(sums, probe(picture[None]), strict=True):
            values = np.asarray(output, dtype=np.float64)
            total[:] += np.stack([values.mean((0, 1, 2)), np.square(values).mean((0, 1, 2))])
    for total, source, target in zip(sums, folded.units, network.units, strict=True):
        mean, square = total / len(pictures)
        variance = np.maximum(square - np.square(mean), _SMALLEST_VARIANCE)
        kernel, bias = source.conv.get_weights()
        target.conv.set_weights([stem_on_pixels(kernel) if source is folded.units[0] else kernel])
        if target.norm is not None:
            target.norm.set_weights([np.sqrt(variance + EPSILON), mean, mean - bias, variance])


def estimate_statistics(network: Network, batches: Sequence[NDArray[np.float32]]) -> None:
    """Sets the moving statistics to the mean over these batches ``[B, H, W, 3]``, each normalised by itself."""
    norms = [unit.norm for unit in network.units if unit.norm is not None]
    momenta = [norm.momentum for norm in norms]
    for count, pictures in enumerate(batches):
        for norm in norms:
            # a running mean: the first batch replaces what was there, the n-th weighs 1/n
            norm.momentum = count / (count + 1)
        network.model(tf.constant(pictures), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
