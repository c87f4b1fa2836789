# SPDX-License-Identifier: Apache-2.0
"""Frames that look like one kept a moment ago teach nothing new."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS, _ROWS = 9, 8
_FINE = 8  # samples along each side of a hash cell: enough against aliasing, cheap at any size of picture


def dhash(image: NDArray[np.uint8]) -> int:
    """The 64-bit difference hash of a picture: whether it gets brighter from each cell of an 8x9 grid to the next.

    Source: N. Krawetz, "Kind of Like That" (The Hacker Factor Blog, 2013). Before averaging, large pictures are read
    at every n-th pixel, which changes a few bits at most and costs a hundredth.

    Args:
        image: ``(height, width, 3)``, uint8, BGR.

    Returns:
        64 bits; the same for the same picture, and for one whose brightness changed by the same step everywhere, as
        long as that neither clips nor is rounded differently.
    """
    height, width = image.shape[:2]
    step_y, step_x = max(1, height // (_ROWS * _FINE)), max(1, width // (_COLUMNS * _FINE))
    sample = np.ascontiguousarray(image[::step_y, ::step_x])
    grey = cv2.cvtColor(sample, cv2.COLOR_BGR2GRAY).astype(np.float32)
    cells = cv2.resize(grey, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
    # Half a grey level: flat regions must not flip with every bit of noise.
    brighter = cells[:, 1:] > cells[:, :-1] + 0.5
    return int.from_bytes(np.packbits(brighter).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """In how many of their bits two hashes differ."""
    return (a ^ b).bit_count()


class NearDuplicates:
    """Remembers the hashes of what each source kept last.

    A frame is a duplicate only of those kept by a rule of its own precedence or a higher one: the hash is too coarse
    to see the head that a rare rule misses, and the common rules have kept a frame of nearly every scene.

    Args:
        limit: hashes that differ in at most so many bits show the same picture (0..64; -1 switches the check off).
        remembered: how many hashes a source keeps.
        forget_seconds: after so long a picture may be kept again. A camera that never moves has nearly one hash, and
            the people in front of it change.
    """

    def __init__(self, limit: int = 3, remembered: int = 64, forget_seconds: float = 600.0) -> None:
        self._limit = limit
        self._remembered = remembered
        self._forget_seconds = forget_seconds
        self._kept: dict[str, deque[tuple[float, int, int]]] = {}

    def seen(self, source: str, image_hash: int, now_seconds: float, rank: int = 0) -> bool:
        """Whether the source kept such a picture lately.

        Args:
            source: the source's name.
            image_hash: the picture's ``dhash``.
            now_seconds: the monotonic clock.
            rank: place of the rule that chose it in the order of precedence, 0 for the first.
        """
        kept = self._kept.get(source)
        if not kept:
            return False
        while kept and now_seconds - kept[0][0] >= self._forget_seconds:
            kept.popleft()
        return any(above <= rank and hamming(image_hash, other) <= self._limit for _, other, above in kept)

    def remember(self, source: str, image_hash: int, now_seconds: float, rank: int = 0) -> None:
        """Takes note of a picture that is kept; arguments as in ``seen``."""
        self._kept.setdefault(source, deque(maxlen=self._remembered)).append((now_seconds, image_hash, rank))

    def forget(self, source: str, image_hash: int) -> None:
        """Takes a picture back that could not be kept after all."""
        kept = self._kept.get(source)
        if kept:
            self._kept[source] = deque((entry for entry in kept if entry[1] != image_hash), maxlen=self._remembered)
