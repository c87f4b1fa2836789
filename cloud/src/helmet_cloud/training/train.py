# SPDX-License-Identifier: Apache-2.0
"""The training loop: one traced step, checkpoints, progress, and a clean end on SIGINT or SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from helmet_agent.errors import ModelError, UsageError
from helmet_cloud.training.assign import Objects
from helmet_cloud.training.batches import batches
from helmet_cloud.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from helmet_cloud.training.losses import Targets, detection_loss
from helmet_cloud.training.retention import distillation_loss, unfrozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from numpy.typing import NDArray

    from helmet_cloud.training.batches import Batch, Part
    from helmet_cloud.training.network import Network
    from helmet_cloud.training.schedule import Plan

SAVE_EVERY_SECONDS = 60.0
REPORT_EVERY_STEPS = 20

_MATRIX = 2  # weights with fewer dimensions are biases and batch norm: decay would only fight the statistics


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        step: steps done of the plan.
        interrupted: a signal cut it short; the same call goes on.
        seconds: that this call took.
        loss: mean of the last steps; None when this call did none.
    """

    step: int
    interrupted: bool
    seconds: float
    loss: float | None = None


class Trainer:
    """A network with its optimiser and weight average; ``run`` goes from the current step to the end of the plan.

    Args:
        network: in its training form; it is changed in place.
        plan: the settings.
        teacher: the network that a plan with ``distil`` or ``blend`` keeps to; it is not changed.
    """

    def __init__(self, network: Network, plan: Plan, teacher: Network | None = None) -> None:
        self.network = network
        self.plan = plan
        self.teacher = teacher
        self.step = 0
        self.seconds = 0.0
        self._trainable = unfrozen(network) if plan.freeze else network.model.trainable_variables
        self._optimiser = keras.optimizers.AdamW(plan.peak_rate, weight_decay=plan.weight_decay)
        self._optimiser.exclude_from_weight_decay(var_list=[v for v in self._trainable if len(v.shape) < _MATRIX])
        self._optimiser.build(self._trainable)
        self._average = [tf.Variable(variable.value, trainable=False) for variable in network.model.weights]
        marks = [tf.TensorSpec([None, 4], tf.float32), *[tf.TensorSpec([None], tf.int32)] * 2]
        self._traced = tf.function(
            self._train_step,
            input_signature=[
                tf.TensorSpec([None, plan.height, plan.width, 3], tf.uint8),
                Targets(Objects(*marks), Objects(*marks), tf.TensorSpec([None, None], tf.float32)),
                tf.TensorSpec([], tf.float32),
            ],
        )

    def _train_step(self, pictures: Any, targets: Targets, decay: Any) -> Any:
        with tf.GradientTape() as tape:
            floating = tf.cast(pictures, tf.float32)
            outputs = self.network.model(floating, training=not self.plan.freeze)
            loss = detection_loss(outputs, self.plan.height, self.plan.width, targets)
            total = loss.total
            if self.teacher is not None and self.plan.distil:
                said = self.teacher.model(floating, training=False)
                total += self.plan.distil * distillation_loss(outputs, said, self.plan.height, self.plan.width)
        gradients = tape.gradient(total, self._trainable)
        gradients, norm = tf.clip_by_global_norm(gradients, self.plan.clip_norm)
        self._optimiser.apply_gradients(zip(gradients, self._trainable, strict=True))
        for average, weight in zip(self._average, self.network.model.weights, strict=True):
            average.assign(average * decay + weight.value * (1.0 - decay))
        return tf.stack([total, loss.classes, loss.boxes, norm])

    def train_batch(self, batch: Batch) -> NDArray[np.float32]:
        """One step; returns the losses (total, class, box) and the gradients' norm before clipping.

        Raises:
            ModelError: the loss is no longer finite; the last checkpoint is kept.
        """
        self._optimiser.learning_rate.assign(self.plan.rate(self.step))
        targets = Targets(
            Objects(batch.objects.boxes, batch.objects.classes, batch.objects.owners),
            Objects(batch.undecided.boxes, batch.undecided.classes, batch.undecided.owners),
            batch.mask,
        )
        decay = np.float32(self.plan.average(self.step))
        figures = np.asarray(self._traced(batch.pictures, targets, decay), np.float32)
        if not np.isfinite(figures).all():
            raise ModelError(f"training: the loss is not finite at step {self.step}; the last checkpoint is kept")
        self.step += 1
        return figures

    def checkpoint(self) -> Checkpoint:
        """Copies of all state."""
        return Checkpoint(
            self.step,
            self.plan.as_dict(),
            [np.array(variable.numpy()) for variable in self.network.model.weights],
            [np.array(variable.numpy()) for variable in self._average],
            [np.array(variable.numpy()) for variable in self._optimiser.variables],
            self.seconds,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on where a checkpoint was taken.

        Raises:
            UsageError: it belongs to another plan.
            ModelError: it belongs to another network.
        """
        if checkpoint.plan != self.plan.as_dict():
            raise UsageError("the checkpoint belongs to other settings; give the same ones, or another work folder")
        pairs = [
            (self.network.model.weights, checkpoint.weights),
            (self._average, checkpoint.average),
            (self._optimiser.variables, checkpoint.optimiser),
        ]
        for variables, values in pairs:
            if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
                raise ModelError("the checkpoint belongs to another network")
        for variables, values in pairs:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self.step, self.seconds = checkpoint.step, checkpoint.seconds

    def resume(self, path: Path, say: Callable[[str], None] = print) -> bool:
        """Restores the checkpoint at ``path`` when there is one; says whether.

        Raises:
            UsageError, ModelError: as ``restore``, or the file is damaged.
        """
        if not path.exists():
            return False
        self.restore(load_checkpoint(path))
        say(f"resumed at step {self.step} of {self.plan.steps} from {path}")
        return True

    def use_average(self) -> Network:
        """Puts the averaged weights into the network: what is evaluated and shipped. Training ends here."""
        values = [variable.numpy() for variable in self._average]
        if self.teacher is not None and self.plan.blend:
            share, start = self.plan.blend, self.teacher.model.get_weights()
            values = [old * share + new * (1.0 - share) for old, new in zip(start, values, strict=True)]
        self.network.model.set_weights(values)
        return self.network

    def run(
        self,
        parts: Sequence[Part],
        path: Path,
        say: Callable[[str], None] = print,
        progress: Callable[[int, int], None] | None = None,
    ) -> Result:
        """Trains to the end of the plan, saving to ``path`` each minute and at the end.

        ``progress`` is told after each step the number done and the number of all.

        Raises:
            SourceMissing: a picture has gone or is damaged.
            ModelError: the loss is no longer finite.
            StorageError: the checkpoint cannot be written.
        """
        cv2.setNumThreads(1)  # the cores belong to TensorFlow
        started = saved = time.monotonic()
        first, before = self.step, self.seconds
        recent: list[NDArray[np.float32]] = []
        last: list[NDArray[np.float32]] = []
        with stop_on_signal() as stopped, contextlib.closing(batches(parts, self.plan, self.step)) as stream:
            for batch in stream:
                recent.append(self.train_batch(batch))
                last = recent[-REPORT_EVERY_STEPS:]
                if progress is not None:
                    progress(self.step, self.plan.steps)
                now = time.monotonic()
                self.seconds = before + now - started
                if len(recent) == REPORT_EVERY_STEPS:
                    say(self._report(np.mean(recent, axis=0), now - started, self.step - first))
                    recent = []
                if now - saved > SAVE_EVERY_SECONDS:
                    save_checkpoint(path, self.checkpoint())
                    saved = time.monotonic()
                if stopped():
                    break
        if self.step > first:
            save_checkpoint(path, self.checkpoint())
        loss = float(np.mean(last, axis=0)[0]) if last else None
        return Result(self.step, self.step < self.plan.steps, time.monotonic() - started, loss)

    def _report(self, figures: Any, seconds: float, done: int) -> str:
        rate = done * self.plan.batch / seconds
        left = (self.plan.steps - self.step) * self.plan.batch / rate
        return (
            f"step {self.step}/{self.plan.steps}  loss {figures[0]:.3f} (class {figures[1]:.3f}, box {figures[2]:.3f})"
            f"  gradient {figures[3]:.1f}  {rate:.1f} pictures/s  {seconds / 60:.1f} min, {left / 60:.0f} min left"
        )


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """While inside, SIGINT and SIGTERM only raise a flag, and the loop ends after its step.

    Only a process's main thread can do so; in others the flag never rises.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
