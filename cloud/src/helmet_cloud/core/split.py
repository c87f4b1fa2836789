# SPDX-License-Identifier: Apache-2.0
"""Which samples train and which evaluate: by a stable hash of the sample's group, never by its place in the file.

A group is what was filmed by one source within ten seconds. Neighbouring frames show the same people in the same
places; were they to fall on both sides, the evaluation would praise what was only memorised. A hash needs no state and
no order: one new sample a poll and a thousand at once give the same split, and the training share of many groups
approaches ``trainProb``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

SEGMENT_SECONDS = 10.0
FRAMES_A_GROUP = 50
"""Where only a picture's name is known, so many numbers in a row are one group: ten seconds at five a second."""

Side = Literal["train", "eval"]

_NUMBERED = re.compile(r"(.*?)(\d+)", re.ASCII | re.DOTALL)
_RANGE = 1 << 64


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a picture comes from.

    Attributes:
        node: name of the node that took it.
        source: the camera's or file's name on that node.
        time_seconds: when it was taken, Unix time.
    """

    node: str
    source: str
    time_seconds: float


def group_of(name: str, origin: Origin | None) -> str:
    """The group that a sample belongs to.

    Args:
        name: the picture's path as the data set names it; only looked at where the origin is not known.
        origin: of the picture, from the hub's own examples.
    """
    if origin is not None:
        return f"{origin.node}\n{origin.source}\n{int(origin.time_seconds // SEGMENT_SECONDS)}"
    stem = name.rpartition(".")[0] if "." in name.rpartition("/")[2].lstrip(".") else name
    numbered = _NUMBERED.fullmatch(stem)
    if numbered is None:
        return stem
    return f"{numbered[1]}\n{int(numbered[2][-18:]) // FRAMES_A_GROUP}"


def side_of(group: str, train_prob: float) -> Side:
    """Where the samples of a group go.

    The same group always goes to the same side for one ``train_prob``; a larger one never moves a group from training
    to evaluation.

    Args:
        group: from ``group_of``.
        train_prob: share that trains, in [0, 1].
    """
    place = int.from_bytes(hashlib.sha256(group.encode(errors="surrogateescape")).digest()[:8], "big") / _RANGE
    return "train" if place < train_prob else "eval"
