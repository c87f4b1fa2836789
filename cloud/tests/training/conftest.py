# SPDX-License-Identifier: Apache-2.0
"""Small labelled pictures: coloured blocks on noise, a size that networks of 64x96 px can learn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from helmet_cloud.labels import LabelBox, LabelledPicture
from helmet_cloud.training.classes import HEADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_cloud.training.network import Network

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Training multiplies in bfloat16 where the CPU can; here functions that must stay the same are compared to the last
# digits, whichever test came first in this process.
os.environ.setdefault("TF_SET_ONEDNN_FPMATH_MODE", "STRICT")

ALL = HEADS | {"person"}
PERSON_COLOUR, HEAD_COLOUR = (200, 40, 40), (40, 40, 220)


def draw_picture(
    path: Path, seed: int, *, complete: frozenset[str] = ALL, size: tuple[int, int] = (96, 64)
) -> LabelledPicture:
    """A picture (width, height) of one person with a helmet at a place that the seed decides."""
    rng = np.random.default_rng(seed)
    width, height = size
    picture = rng.integers(90, 130, (height, width, 3), dtype=np.uint8)
    # big soft patches make pictures of different seeds different to a difference hash
    patches = cv2.resize(rng.integers(0, 90, (4, 5, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    picture = cv2.add(picture, np.asarray(patches, np.uint8))
    w, h = width // 4, height // 2
    x, y = int(rng.integers(4, width - w - 4)), int(rng.integers(4, height - h - 4))
    cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), PERSON_COLOUR, -1)
    cv2.rectangle(picture, (x + w // 4, y), (x + 3 * w // 4 - 1, y + h // 3 - 1), HEAD_COLOUR, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    boxes = (
        LabelBox("person", (float(x), float(y), float(x + w), float(y + h))),
        LabelBox("helmet-on", (float(x + w // 4), float(y), float(x + 3 * w // 4), float(y + h // 3))),
    )
    return LabelledPicture(path, width, height, boxes, complete)


@pytest.fixture(scope="session")
def draw() -> Callable[..., LabelledPicture]:
    """``draw(path, seed, complete=..., size=...)`` writes a picture and says what is in it."""
    return draw_picture


@pytest.fixture(scope="session")
def write_start() -> Callable[[Path, int], Network]:
    """``write_start(path, base)`` writes random start weights in the shape of YOLOX-nano's ONNX file.

    It returns the folded network with SiLU that the file stands for; its class predictors have nothing to do with it.
    """
    return write_start_file


def write_start_file(path: Path, base: int) -> Network:
    # here, so that tests without TensorFlow do not pay for it
    import onnx  # noqa: PLC0415
    from onnx import helper, numpy_helper  # noqa: PLC0415

    from helmet_cloud.training.network import NetworkSpec, build_network, stem_on_cells  # noqa: PLC0415
    from helmet_cloud.training.start_weights import stem_kernel  # noqa: PLC0415

    network = build_network(NetworkSpec(base, activation="silu"), deploy=True)
    rng = np.random.default_rng(5)
    arrays: list[tuple[np.ndarray, np.ndarray]] = []
    for unit in network.units:
        kernel = unit.conv.get_weights()[0]
        depthwise = kernel.shape[-1] == 1 and kernel.shape[0] > 1
        bias = rng.normal(0, 0.2, kernel.shape[2 if depthwise else 3])
        unit.conv.set_weights([kernel, bias])
        arrays.append((kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1), bias))
    arrays[0] = (rng.normal(0, 0.2, (base, 12, 3, 3)), arrays[0][1])
    network.units[0].conv.set_weights([stem_on_cells(stem_kernel(arrays[0][0])), arrays[0][1]])

    heads = len(arrays) - 3 * 9  # of a level: stem, and twice two separable convolutions
    ordered = arrays[:heads]
    for level in range(3):
        part = arrays[heads + 9 * level :][:9]
        classes, boxes, objectness = (
            (rng.normal(0, 0.3, (channels, 4 * base, 1, 1)), rng.normal(0, 0.3, channels)) for channels in (80, 4, 1)
        )
        network.box_units[level].conv.set_weights([boxes[0].transpose(2, 3, 1, 0), boxes[1]])
        ordered += [*part[:5], classes, *part[5:], boxes, objectness]
    nodes, tensors = [], []
    for index, pair in enumerate(ordered):
        names = [f"kernel{index}", f"bias{index}"]
        nodes.append(helper.make_node("Conv", [f"x{index}", *names], [f"x{index + 1}"]))
        tensors += [
            numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)
            for array, name in zip(pair, names, strict=True)
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(helper.make_graph(nodes, "start", [], [], tensors)), str(path))
    return network


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPicture]:
    """Twelve pictures, every third labelled for heads only."""
    folder = tmp_path_factory.mktemp("pictures")
    return [
        draw_picture(folder / f"{index:02d}.png", index, complete=HEADS if index % 3 == 2 else ALL)
        for index in range(12)
    ]
