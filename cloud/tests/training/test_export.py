# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from helmet_agent.errors import ModelError
from helmet_cloud.training.equalise import equalise
from helmet_cloud.training.export import (
    EQUALISING_PICTURES,
    ROUNDING_PICTURES,
    load_weights,
    save_weights,
    to_float16,
    to_int8,
)
from helmet_cloud.training.fold import CLASS_LOGIT_OFFSET, fold
from helmet_cloud.training.network import Network, NetworkSpec, build_network
from helmet_cloud.training.rounding import STEPS, round_weights

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.training

TINY, SIZE = NetworkSpec(base=4), (64, 96)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> Network:
    tf.keras.utils.set_random_seed(1)
    made = build_network(TINY)
    for unit in (*made.class_units, *made.box_units):
        kernel, bias = unit.conv.get_weights()
        unit.conv.set_weights([kernel * 3, bias * 0 - 1.0])  # logits on either side of the cut at -8
    for seed in range(60):
        made.model(pictures(4, seed).astype(np.float32), training=True)
    return made


@pytest.fixture(scope="module")
def int8(network: Network) -> bytes:
    return to_int8(network, pictures(20), TINY, SIZE)


@pytest.fixture(scope="module")
def float16(network: Network) -> bytes:
    return to_float16(network, TINY, SIZE)


def run(model: bytes, picture: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    pixels = (picture.astype(np.int16) - 128).astype(np.int8) if given["dtype"] is np.int8 else picture
    interpreter.set_tensor(given["index"], pixels[None].astype(given["dtype"]))
    interpreter.invoke()
    outputs = []
    for detail in interpreter.get_output_details():
        values = interpreter.get_tensor(detail["index"])
        if values.dtype == np.int8:
            scale, zero_point = detail["quantization"]
            values = (values.astype(np.float32) - zero_point) * scale
        outputs.append(values)
    return outputs


def test_int8_has_six_int8_outputs_each_with_its_own_scale(int8: bytes) -> None:
    interpreter = Interpreter(model_content=int8)
    outputs = interpreter.get_output_details()
    grids = [(8, 12), (4, 6), (2, 3)]
    assert [tuple(detail["shape"]) for detail in outputs] == [(1, *grid, 4) for grid in grids for _ in range(2)]
    assert {detail["dtype"] for detail in outputs} == {np.int8}
    assert len({detail["quantization"] for detail in outputs}) > 3
    assert [detail["quantization"][1] for detail in outputs[::2]] == [-128] * 3, "class maps begin at zero"
    (given,) = interpreter.get_input_details()
    assert (given["dtype"], given["quantization"]) == (np.int8, (1.0, -128))


@pytest.mark.parametrize("model", ["int8", "float16"])
def test_whole_graph_is_one_delegate_partition(model: str, request: pytest.FixtureRequest) -> None:
    interpreter = Interpreter(model_content=request.getfixturevalue(model))
    interpreter.allocate_tensors()
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    assert names.count("DELEGATE") == 1
    computing = [name for name in names if name != "DEQUANTIZE"]
    assert computing[:2] == ["SPACE_TO_DEPTH", "CONV_2D"], "a stem over pixels takes half of a frame; see network.py"


def test_float16_is_the_trained_network(network: Network, float16: bytes) -> None:
    picture = pictures(1, seed=7)[0]
    trained = [np.asarray(x) for x in network.model(picture[None].astype(np.float32), training=False)]
    exported = run(float16, picture)
    for classes, lifted in zip(trained[::2], exported[::2], strict=True):
        assert lifted == pytest.approx(np.maximum(classes + CLASS_LOGIT_OFFSET, 0), abs=0.05)
    for boxes, same in zip(trained[1::2], exported[1::2], strict=True):
        assert same == pytest.approx(boxes, abs=0.05)


def test_int8_stays_close_to_float(int8: bytes, float16: bytes) -> None:
    for seed in range(3):
        picture = pictures(1, seed=20 + seed)[0]
        for quantised, exact in zip(run(int8, picture), run(float16, picture), strict=True):
            spread = exact.max() - exact.min()
            assert np.abs(quantised - exact).mean() < 0.05 * spread


def test_weights_come_back_and_are_the_same_file_each_time(tmp_path: Path, network: Network) -> None:
    path = tmp_path / "weights.npz"
    save_weights(network, path)
    content = path.read_bytes()
    save_weights(network, path)
    assert path.read_bytes() == content
    picture = pictures(1).astype(np.float32)
    pairs = zip(
        network.model(picture, training=False), load_weights(path, TINY).model(picture, training=False), strict=True
    )
    assert all(np.asarray(b) == pytest.approx(np.asarray(a), abs=0.05) for a, b in pairs)


def test_weights_of_another_network_are_refused(tmp_path: Path, network: Network) -> None:
    save_weights(network, tmp_path / "weights.npz")
    with pytest.raises(ModelError, match="another network"):
        load_weights(tmp_path / "weights.npz", NetworkSpec(base=8))


def test_int8_holds_the_very_steps_that_were_chosen(network: Network, int8: bytes) -> None:
    given = pictures(20).astype(np.float32)
    deployed = fold(network, TINY)
    equalise(deployed, given[:EQUALISING_PICTURES])
    round_weights(deployed, given[:ROUNDING_PICTURES])
    for unit in (*deployed.units, *deployed.class_units, *deployed.box_units):
        kernel = unit.conv.get_weights()[0]
        # TensorFlow's [h, w, in, out] and [h, w, channels, 1] are [out, h, w, in] and [1, h, w, channels] in the file
        laid = np.transpose(kernel, (3, 0, 1, 2))
        axes = (0, 1, 2) if isinstance(unit.conv, keras.layers.DepthwiseConv2D) else (1, 2, 3)
        steps = np.round(laid / np.abs(laid).max(axes, keepdims=True) * STEPS).astype(np.int8)
        assert steps.tobytes() in int8, unit.conv.name
