# SPDX-License-Identifier: Apache-2.0
"""Labelled pictures for training: their arrays, their digest, and their split into a training and a validation part.

Near-duplicates (frames of one scene, re-encoded copies) stay on one side of the split: pictures whose 256-bit
difference hashes lie close form a group, and a stable hash of the group decides its side, so that the split depends
neither on the order of the files nor on a random generator.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from helmet_cloud.labels import LABELS
from helmet_cloud.labels.picture import read_picture
from helmet_cloud.training.augment import Labelled
from helmet_cloud.training.classes import LABEL_IDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from helmet_cloud.labels import LabelledPicture

NEAR_DUPLICATE_BITS = 30
"""Distance (of 256 bits) up to which two pictures count as one scene; unrelated pictures differ in about 128."""

HALVE_ABOVE = 1600
"""Pictures with a longer side (px) are halved once decoded: the network never sees more, and they cost time."""

_DIGEST_DECIMALS = 2


def leave_out(pictures: Iterable[LabelledPicture], label: str) -> list[LabelledPicture]:
    """The same pictures, saying nothing about one label."""
    return [replace(picture, complete=picture.complete - {label}) for picture in pictures]


def load(picture: LabelledPicture) -> Labelled:
    """Decodes a picture, with the objects of the labels that it is complete for, and its undecided regions.

    An object of a label that the picture is not complete for is left out: the loss does not look at that label there.

    Raises:
        SourceMissing: the file is gone or damaged.
    """
    image = read_picture(picture.path)
    if max(image.shape[:2]) > HALVE_ABOVE:
        size = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    marks = [(mark.box, LABEL_IDS[mark.label], False) for mark in picture.boxes if mark.label in picture.complete]
    for region in picture.ignore:
        labels = LABELS if region.label is None else (region.label,)
        marks += [(region.box, LABEL_IDS[label], True) for label in labels]
    scale = np.array([image.shape[1] / picture.width, image.shape[0] / picture.height] * 2, np.float32)
    return Labelled(
        image,
        np.array([box for box, _, _ in marks], np.float32).reshape(-1, 4) * scale,
        np.array([label for _, label, _ in marks], np.int32),
        np.array([undecided for _, _, undecided in marks], np.bool_),
    )


def class_mask(picture: LabelledPicture) -> NDArray[np.float32]:
    """``[C]``: 1 for each class that the picture is complete for."""
    return np.array([label in picture.complete for label in LABELS], np.float32)


def difference_hash(path: Path) -> NDArray[np.uint8]:
    """256 bits: whether each cell of a 16x16 grid is brighter than the one before it; uint8 ``[32]``.

    Source: N. Krawetz, "Kind of Like That" (The Hacker Factor Blog, 2013), on a finer grid: here the question is not
    whether two frames look alike, but whether two files show the same scene.
    """
    grey = cv2.cvtColor(read_picture(path), cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1])


def group_near_duplicates(hashes: NDArray[np.uint8], limit: int = NEAR_DUPLICATE_BITS) -> list[int]:
    """For each of ``hashes [N, 32]`` the index of the first one of its group; groups are transitive."""
    first = list(range(len(hashes)))

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = first[first[index]]
            index = first[index]
        return index

    words = hashes.view(np.uint64)
    for index in range(1, len(hashes)):
        distance = np.bitwise_count(words[:index] ^ words[index]).sum(axis=1)
        for other in np.flatnonzero(distance <= limit):
            a, b = root(int(other)), root(index)
            first[max(a, b)] = min(a, b)
    return [root(index) for index in range(len(hashes))]


def split(
    pictures: Sequence[LabelledPicture], validation_share: float = 0.06
) -> tuple[list[LabelledPicture], list[LabelledPicture]]:
    """Training and validation part; near-duplicates stay together, also across sources."""
    if not pictures:
        return [], []
    groups = group_near_duplicates(np.stack([difference_hash(picture.path) for picture in pictures]))
    names: dict[int, str] = {}
    for picture, group in zip(pictures, groups, strict=True):
        # the smallest name of a group stands for it, whatever order the files came in
        names[group] = min(names.get(group, picture.path.name), picture.path.name)
    training: list[LabelledPicture] = []
    validation: list[LabelledPicture] = []
    for picture, group in zip(pictures, groups, strict=True):
        digest = hashlib.sha256(names[group].encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        (validation if share < validation_share else training).append(picture)
    return training, validation


def dataset_digest(pictures: Iterable[LabelledPicture]) -> str:
    """SHA-256 over picture contents and labels in an order of its own: names the data that a model was trained on."""
    lines = []
    for picture in pictures:
        content = hashlib.sha256(picture.path.read_bytes()).hexdigest()
        marks = [f"{mark.label}:{_edges(mark.box)}" for mark in picture.boxes]
        marks += [f"ignore {region.label}:{_edges(region.box)}" for region in picture.ignore]
        lines.append(" ".join([content, "+".join(sorted(picture.complete)), *sorted(marks)]))
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _edges(box: Iterable[float]) -> str:
    return ",".join(f"{edge:.{_DIGEST_DECIMALS}f}" for edge in box)
