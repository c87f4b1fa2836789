# SPDX-License-Identifier: Apache-2.0
"""Keeps what a model knows when the pictures that it learned from are not at hand.

Three means, each switched by a field of the plan:

- blending: the round learns freely, and the result is an average of the accepted and the trained weights (after
  Wortsman et al., "Robust fine-tuning of zero-shot models", arXiv:2109.01903). It costs nothing and kept most.
- distillation: the accepted model looks at the same pictures, and the new one is held to what it says wherever it says
  something (after Li and Hoiem, "Learning without Forgetting", arXiv:1606.09282, per place instead of per picture);
- freezing: the backbone and all batch norm statistics stay, so that the features of the old sites do not drift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from helmet_cloud.training.assign import box_iou, decode_boxes, make_grid
from helmet_cloud.training.losses import BOX_WEIGHT, flatten_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_cloud.training.network import Network

SURE_SCORE = 0.05
"""Where the teacher's best class scores less it sees background, and its boxes mean nothing."""


def unfrozen(network: Network) -> list[Any]:
    """The variables that training may change while the backbone is frozen: neck, heads and predictors."""
    units = [*network.units[network.backbone :], *network.class_units, *network.box_units]
    layers = [layer for unit in units for layer in (unit.conv, unit.norm) if layer is not None]
    return [variable for layer in layers for variable in layer.trainable_variables]


def distillation_loss(outputs: Sequence[Any], said: Sequence[Any], height: int, width: int) -> Any:
    """How far the outputs are from what the teacher said, a scalar; 0 where they are the same.

    Classes: the cross-entropy to the teacher's scores above its least value (the Kullback-Leibler divergence), over all
    places. Boxes: 1 - GIoU where the teacher sees something, weighted by its score. Both are divided by the sum of
    the teacher's best scores, as the detection loss is by its targets.

    Args:
        outputs: the network's six maps.
        said: the teacher's.
        height: of the input in px.
        width: of the input in px.
    """
    logits, raw = flatten_outputs(outputs)
    taught, taught_raw = (tf.stop_gradient(one) for one in flatten_outputs(said))
    scores = tf.sigmoid(taught)
    best = tf.reduce_max(scores, -1)
    sure = tf.where(best >= SURE_SCORE, best, 0.0)
    norm = tf.maximum(tf.reduce_sum(sure), 1.0)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits
    classes = tf.reduce_sum(entropy(labels=scores, logits=logits) - entropy(labels=scores, logits=taught)) / norm
    grid = make_grid(height, width)
    _, giou = box_iou(decode_boxes(raw, grid), decode_boxes(taught_raw, grid))
    boxes = tf.reduce_sum((1.0 - giou) * sure) / norm
    return classes + BOX_WEIGHT * boxes
