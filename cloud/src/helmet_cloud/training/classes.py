# SPDX-License-Identifier: Apache-2.0
"""The network's input and grid, apart from network.py so that reading data does not import TensorFlow."""

from __future__ import annotations

from helmet_cloud.labels import LABELS

STRIDES = (8, 16, 32)
INPUT_HEIGHT = 352
INPUT_WIDTH = 640

PAD_VALUE = 114
"""Grey that fills what a picture leaves free of the input; the agent's letterbox uses the same."""

HEADS = frozenset({"helmet-on", "helmet-off"})

LABEL_IDS = {label: index for index, label in enumerate(LABELS)}
"""The network's class channels."""
