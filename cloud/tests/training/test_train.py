# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from helmet_agent.errors import ModelError, UsageError
from helmet_cloud.training.batches import Part, batches
from helmet_cloud.training.checkpoint import load_checkpoint, save_checkpoint
from helmet_cloud.training.classes import STRIDES
from helmet_cloud.training.export import save_weights
from helmet_cloud.training.network import ConvUnit, Network, NetworkSpec, build_network
from helmet_cloud.training.norm import BatchNorm
from helmet_cloud.training.runs import train_round
from helmet_cloud.training.schedule import Plan
from helmet_cloud.training.train import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.labels import LabelledPicture

pytestmark = pytest.mark.training

TINY = NetworkSpec(base=4)
PLAN = Plan(steps=6, batch=4, seed=3, height=64, width=96, warmup_steps=2)


def small_network(channels: int = 8) -> Network:
    """One convolution a level: the loop does not care, and tracing the real topology takes half a minute."""
    image = keras.Input((64, 96, 3))
    units, class_units, box_units, outputs = [], [], [], []
    for stride in STRIDES:
        layers = [keras.layers.Conv2D(width, 3, padding="same") for width in (channels, 4, 4)]
        norm = BatchNorm()
        x = keras.layers.AveragePooling2D(stride)(image)
        x = keras.layers.Activation("relu6")(norm(layers[0](x)))
        units.append(ConvUnit(layers[0], norm))
        class_units.append(ConvUnit(layers[1], None))
        box_units.append(ConvUnit(layers[2], None))
        outputs += [layers[1](x), layers[2](x)]
    return Network(keras.Model(image, outputs), units, class_units, box_units)


def quiet(_line: str) -> None:
    """Progress that nobody reads."""


def trainer(plan: Plan = PLAN, seed: int = 1) -> Trainer:
    keras.utils.set_random_seed(seed)
    return Trainer(small_network(), plan)


def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    parts, path = [Part(pictures, 4)], tmp_path / "run.npz"
    whole = trainer()
    whole.run(parts, tmp_path / "whole.npz", quiet)

    first = trainer()
    for batch in list(batches(parts, PLAN, 0))[:3]:
        first.train_batch(batch)
    save_checkpoint(path, first.checkpoint())
    second = trainer(seed=99)  # whatever it starts from, the checkpoint replaces it
    assert second.resume(path, quiet)
    assert second.step == 3
    result = second.run(parts, path, quiet)

    assert (result.step, result.interrupted) == (6, False)
    one, other = whole.checkpoint(), load_checkpoint(path)
    assert one.step == other.step
    for name in ("weights", "average", "optimiser"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            # sums over threads may differ in the last bits
            assert np.asarray(b, np.float64) == pytest.approx(np.asarray(a, np.float64), rel=1e-3, abs=1e-4)


def test_signal_saves_and_ends_and_the_run_goes_on(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    path, plan = tmp_path / "run.npz", Plan(steps=100_000, batch=2, height=64, width=96)
    running = trainer(plan)
    handler = signal.getsignal(signal.SIGTERM)

    def stop() -> None:
        while running.step < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    result = running.run([Part(pictures, 2)], path, quiet)
    assert result.interrupted
    assert result.step >= 2
    assert load_checkpoint(path).step == result.step
    assert signal.getsignal(signal.SIGTERM) is handler
    again = trainer(plan)
    assert again.resume(path, quiet)
    assert again.step == result.step
    assert again.seconds == pytest.approx(result.seconds, abs=1.0)


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    save_checkpoint(path, trainer().checkpoint())
    with pytest.raises(UsageError, match="other settings"):
        trainer(Plan(steps=7, batch=4, seed=3, height=64, width=96, warmup_steps=2)).resume(path, quiet)


def test_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    save_checkpoint(path, trainer().checkpoint())
    with pytest.raises(ModelError, match="another network"):
        Trainer(small_network(channels=6), PLAN).resume(path, quiet)


def test_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(
    tmp_path: Path, pictures: list[LabelledPicture]
) -> None:
    path = tmp_path / "run.npz"
    broken = trainer()
    save_checkpoint(path, broken.checkpoint())
    broken.network.class_units[0].conv.bias.assign([np.nan] * 4)
    with pytest.raises(ModelError, match="not finite"):
        broken.run([Part(pictures, 4)], path, quiet)
    assert all(np.isfinite(array).all() for array in load_checkpoint(path).weights)


def test_average_follows_the_weights(pictures: list[LabelledPicture]) -> None:
    running = trainer()
    before = [w.numpy().copy() for w in running.network.model.weights]
    running.train_batch(next(iter(batches([Part(pictures, 4)], PLAN, 0))))
    after = [w.numpy().copy() for w in running.network.model.weights]
    decay = PLAN.average(0)
    averaged = [w.numpy().copy() for w in running.use_average().model.weights]
    for start, end, mean in zip(before, after, averaged, strict=True):
        assert mean == pytest.approx(start * decay + end * (1 - decay), abs=1e-5)


@pytest.mark.slow
def test_round_starts_from_weights_and_learns_the_new_pictures(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    start = build_network(TINY)
    save_weights(start, tmp_path / "weights.npz")
    plan = Plan(
        steps=30, batch=4, height=64, width=96, peak_rate=5e-3, warmup_steps=5, average_decay=0.8, mosaic_share=0
    )
    lines: list[str] = []
    network, result = train_round(
        tmp_path / "weights.npz", pictures[:6], pictures[6:], plan, tmp_path / "round.npz", say=lines.append, spec=TINY
    )
    assert (result.step, result.interrupted) == (30, False)
    assert "step 20/30" in lines[-1]
    moved = [
        np.abs(a.numpy() - b.numpy()).max()
        for a, b in zip(network.model.trainable_variables, start.model.trainable_variables, strict=True)
    ]
    assert max(moved) > 0.001


def test_round_without_new_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no new pictures"):
        train_round(tmp_path / "weights.npz", [], [], PLAN, tmp_path / "round.npz", say=quiet, spec=TINY)
