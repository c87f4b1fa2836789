# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation by TensorFlow's fused kernel; Keras 3's own layer takes several passes over memory on a CPU."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

EPSILON = 1e-3
"""Added to variances; that of YOLOX."""


class BatchNorm(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Normalises each channel of ``[B, H, W, C]``, by the batch in training, else by moving statistics.

    Weights, all float32 ``[C]``: gamma, beta, moving_mean, moving_variance.

    Args:
        momentum: what a training step keeps of the moving statistics; .97 is that of YOLOX.
        kwargs: of ``keras.layers.Layer``.
    """

    def __init__(self, momentum: float = 0.97, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights."""
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")
        self.moving_mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight(shape=shape, initializer="ones", trainable=False, name="moving_variance")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Normalised inputs; in training the moving statistics follow."""
        if not training:
            outputs, *_ = tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=self.gamma,
                offset=self.beta,
                mean=self.moving_mean,
                variance=self.moving_variance,
                epsilon=EPSILON,
                is_training=False,
            )
            return outputs
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=EPSILON,
            is_training=True,
        )
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1.0 - self.momentum))
        self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1.0 - self.momentum))
        return outputs
