# SPDX-License-Identifier: Apache-2.0
"""What training minimises: binary cross-entropy of the class logits plus generalised IoU of the boxes.

A mask per picture and class takes classes out of the sum where the picture's labels are not complete for them: a
heads-only picture says nothing about persons, neither for nor against. Undecided regions do the same for a part of a
picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from helmet_cloud.training.assign import Objects, assign, box_iou, decode_boxes, inside, make_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

BOX_WEIGHT = 2.5


class Targets(NamedTuple):
    """What the outputs of a batch are compared with.

    Attributes:
        objects: of classes that their picture is complete for, no others.
        undecided: regions where their class is neither right nor wrong.
        mask: ``[B, C]`` float32, 1 where the picture is completely labelled for the class.
    """

    objects: Objects
    undecided: Objects
    mask: Any


class Losses(NamedTuple):
    """Scalars, float32: the weighted sum, the class part, and the box part before its weight."""

    total: Any
    classes: Any
    boxes: Any


def flatten_outputs(outputs: Sequence[Any]) -> tuple[Any, Any]:
    """The six maps as class logits ``[B, A, C]`` and raw boxes ``[B, A, 4]``, places in the order of ``Grid``."""

    def flat(maps: Sequence[Any]) -> Any:
        joined = [tf.reshape(tf.cast(m, tf.float32), [tf.shape(m)[0], -1, m.shape[-1]]) for m in maps]
        return tf.concat(joined, 1)

    return flat(outputs[0::2]), flat(outputs[1::2])


def detection_loss(outputs: Sequence[Any], height: int, width: int, targets: Targets) -> Losses:
    """The loss of one batch.

    Both parts are divided by the sum of class targets, as in TOOD, so that crowded pictures do not outweigh the rest.

    Args:
        outputs: the network's six maps.
        height: of the input in px.
        width: of the input in px.
        targets: what is in the pictures.
    """
    logits, raw = flatten_outputs(outputs)
    grid = make_grid(height, width)
    boxes = decode_boxes(raw, grid)
    found = assign(tf.sigmoid(tf.stop_gradient(logits)), tf.stop_gradient(boxes), grid, targets.objects)
    target = tf.stop_gradient(found.targets)
    full = tf.scatter_nd(tf.concat([found.places, found.classes[:, None]], -1), target, tf.shape(logits))
    # two objects with the same overlap may share a place; a target stays a probability
    full = tf.minimum(full, 1.0)
    weight = _decided(targets.undecided, grid, tf.shape(logits))
    # an object inside an undecided region still counts
    weight = tf.where(full > 0.0, 1.0, weight) * targets.mask[:, None, :]
    norm = tf.maximum(tf.reduce_sum(target), 1.0)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=full, logits=logits)
    classes = tf.reduce_sum(entropy * weight) / norm
    _, giou = box_iou(tf.gather_nd(boxes, found.places), found.boxes)
    box = tf.reduce_sum((1.0 - giou) * target) / norm
    return Losses(classes + BOX_WEIGHT * box, classes, box)


def _decided(undecided: Objects, grid: Any, shape: Any) -> Any:
    """``[B, A, C]``: 0 where a place's centre lies in an undecided region of the class, else 1."""
    where = tf.cast(tf.where(inside(grid, undecided.boxes, 0.0)), tf.int32)
    owner, label = tf.gather(undecided.owners, where[:, 0]), tf.gather(undecided.classes, where[:, 0])
    hits = tf.scatter_nd(tf.stack([owner, where[:, 1], label], -1), tf.ones_like(owner, tf.float32), shape)
    return tf.cast(hits < 0.5, tf.float32)  # noqa: PLR2004 - a count, as float
