# SPDX-License-Identifier: Apache-2.0
"""The published file is not part of the repository: one of the same shape with random weights stands for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import tensorflow as tf

from helmet_agent.errors import ModelError
from helmet_cloud.training.network import NetworkSpec
from helmet_cloud.training.start_weights import estimate_statistics, load_coco, stem_kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_cloud.training.network import Network

    WriteStart = Callable[[Path, int], Network]

pytestmark = pytest.mark.training

SILU = NetworkSpec(base=4, activation="silu")


def test_stem_is_focus_and_convolution_in_one() -> None:
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 255, (1, 32, 48, 3)).astype(np.float32)
    kernel = rng.normal(0, 0.1, (16, 12, 3, 3)).astype(np.float32)
    cells = [picture[:, down::2, right::2] for down, right in ((0, 0), (1, 0), (0, 1), (1, 1))]
    focus = tf.nn.conv2d(np.concatenate(cells, axis=-1), kernel.transpose(2, 3, 1, 0), 1, "SAME")
    ours = tf.nn.conv2d(picture, stem_kernel(kernel), 2, "SAME")
    assert np.asarray(ours) == pytest.approx(np.asarray(focus), abs=1e-2)


def test_rebuilt_batch_norm_keeps_the_function(tmp_path: Path, write_start: WriteStart) -> None:
    folded = write_start(tmp_path / "start.onnx", SILU.base)
    pictures = np.random.default_rng(1).uniform(0, 255, (3, 64, 96, 3)).astype(np.float32)
    network = load_coco(tmp_path / "start.onnx", pictures, SILU)
    other = np.random.default_rng(2).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    theirs, ours = folded.model(other), network.model(other, training=False)
    for index in (1, 3, 5):
        assert np.asarray(ours[index]) == pytest.approx(np.asarray(theirs[index]), rel=1e-3, abs=1e-3)


def test_class_without_data_never_fires(tmp_path: Path, write_start: WriteStart) -> None:
    write_start(tmp_path / "start.onnx", SILU.base)
    pictures = np.random.default_rng(1).uniform(0, 255, (2, 64, 96, 3)).astype(np.float32)
    network = load_coco(tmp_path / "start.onnx", pictures, replace(SILU, activation="relu6"))
    logits = np.asarray(network.model(pictures, training=False)[0])
    assert logits[..., 1] == pytest.approx(-6.0)
    assert logits[..., 0].std() > 0


def test_statistics_are_the_mean_over_batches(tmp_path: Path, write_start: WriteStart) -> None:
    write_start(tmp_path / "start.onnx", SILU.base)
    batches = [np.random.default_rng(seed).uniform(0, 255, (2, 64, 96, 3)).astype(np.float32) for seed in range(3)]
    network = load_coco(tmp_path / "start.onnx", batches[0], SILU)
    first = network.units[0]
    means = [np.asarray(first.conv(batch)).mean((0, 1, 2)) for batch in batches]
    estimate_statistics(network, batches)
    assert first.norm.moving_mean.numpy() == pytest.approx(np.mean(means, axis=0), abs=1e-3)
    assert first.norm.momentum == pytest.approx(0.97)


def test_another_network_is_refused_by_name(tmp_path: Path, write_start: WriteStart) -> None:
    write_start(tmp_path / "start.onnx", SILU.base)
    with pytest.raises(ModelError, match=r"start\.onnx"):
        load_coco(tmp_path / "missing_start.onnx", np.zeros((1, 64, 96, 3), np.float32), SILU)
    (tmp_path / "no_start.onnx").write_bytes(b"GIF89a")
    with pytest.raises(ModelError, match=r"no_start\.onnx"):
        load_coco(tmp_path / "no_start.onnx", np.zeros((1, 64, 96, 3), np.float32), SILU)
    model = onnx.load(str(tmp_path / "start.onnx"))
    del model.graph.node[-3:]
    onnx.save(model, str(tmp_path / "short.onnx"))
    with pytest.raises(ModelError, match=r"short\.onnx"):
        load_coco(tmp_path / "short.onnx", np.zeros((1, 64, 96, 3), np.float32), SILU)
