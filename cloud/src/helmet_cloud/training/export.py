# SPDX-License-Identifier: Apache-2.0
"""The files of a trained model: int8 and float16 .tflite with one output layout, and float weights to train on from.

Both .tflite files take BGR ``[1, 352, 640, 3]``, letterboxed with grey 114, and give six tensors in this order: for
strides 8, 16 and 32 relu(class logit + 8) ``[1, H, W, C]``, then boxes ``[1, H, W, 4]`` (dx, dy, log w, log h). The
int8 file takes pixel - 128 and quantises each output apart; the float16 file takes 0..255 as float32 and gives float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from helmet_agent.errors import ModelError
from helmet_cloud.training.checkpoint import read_arrays, write_arrays
from helmet_cloud.training.classes import INPUT_HEIGHT, INPUT_WIDTH, STRIDES
from helmet_cloud.training.equalise import equalise
from helmet_cloud.training.fold import fold, frozen_function
from helmet_cloud.training.network import NANO, Network, NetworkSpec, build_network
from helmet_cloud.training.rounding import round_weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

CALIBRATION_PICTURES = 120
EQUALISING_PICTURES = 60
ROUNDING_PICTURES = 24
INPUT_QUANTISATION = (1.0, -128)
"""Scale and zero point of the int8 input: pixel - 128."""

_INPUT_SIZE = (INPUT_HEIGHT, INPUT_WIDTH)


def to_int8(
    network: Network,
    calibration: NDArray[np.uint8],
    spec: NetworkSpec = NANO,
    size: tuple[int, int] = _INPUT_SIZE,
) -> bytes:
    """A full-integer model by equalisation, fitted rounding and post-training quantisation.

    Args:
        network: trained, in its training form.
        calibration: ``[N, height, width, 3]``, letterboxed training pictures; their activations set the ranges.
        spec: of the network.
        size: height and width of the input in px.

    Raises:
        ModelError: the converter made another layout than agreed.
    """

    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for index, picture in enumerate(calibration):
            example = picture[None].astype(np.float32)
            if index == 0:
                # both ends of the range must occur: only then is the input's scale exactly 1
                example[0, 0, 0], example[0, 0, 1] = 0.0, 255.0
            yield [example]

    deployed = fold(network, spec)
    equalise(deployed, calibration[:EQUALISING_PICTURES].astype(np.float32))
    round_weights(deployed, calibration[:ROUNDING_PICTURES].astype(np.float32))
    converter = _converter(deployed, size)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return _checked(converter.convert(), spec, np.int8, size)


def to_float16(network: Network, spec: NetworkSpec = NANO, size: tuple[int, int] = _INPUT_SIZE) -> bytes:
    """The same network with float16 weights and float32 arithmetic.

    Raises:
        ModelError: the converter made another layout than agreed.
    """
    converter = _converter(fold(network, spec), size)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return _checked(converter.convert(), spec, np.float32, size)


def _converter(deployed: Network, size: tuple[int, int]) -> Any:
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen_function(deployed, *size)])


def _checked(model: bytes, spec: NetworkSpec, kind: type, size: tuple[int, int]) -> bytes:
    interpreter = Interpreter(model_content=model)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    shapes = [tuple(int(side) for side in item["shape"]) for item in outputs]
    grids = [(size[0] // stride, size[1] // stride) for stride in STRIDES]
    wanted = [(1, *grid, channels) for grid in grids for channels in (spec.classes, 4)]
    if shapes != wanted or any(item["dtype"] is not kind for item in (*inputs, *outputs)):
        raise ModelError(f"export: expected outputs {wanted} of {kind.__name__}, the converter made {shapes}")
    if kind is np.int8 and tuple(inputs[0]["quantization"]) != INPUT_QUANTISATION:
        found = inputs[0]["quantization"]
        raise ModelError(f"export: expected input scale and zero point {INPUT_QUANTISATION}, found {found}")
    return bytes(model)


def save_weights(network: Network, path: Path) -> None:
    """All float weights, batch norm statistics included, as float16: what a later round starts from.

    Raises:
        StorageError: the file cannot be written.
    """
    limit = float(np.finfo(np.float16).max)
    # a variance can leave float16's range in principle; infinity would silence its channel, the limit keeps it alive
    write_arrays(
        path,
        {
            f"{index:04d}": np.clip(weight.numpy(), -limit, limit).astype(np.float16)
            for index, weight in enumerate(network.model.weights)
        },
    )


def load_weights(path: Path, spec: NetworkSpec = NANO) -> Network:
    """A training network with the weights that ``save_weights`` wrote.

    Raises:
        ModelError: missing, damaged, or weights of another network.
    """
    network = build_network(spec)
    values = [array.astype(np.float32) for array in read_arrays(path).values()]
    if [value.shape for value in values] != [tuple(weight.shape) for weight in network.model.weights]:
        raise ModelError(f"weights of another network: {path}")
    network.model.set_weights(values)
    return network
