# SPDX-License-Identifier: Apache-2.0
"""The live model and its atomic swap."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helmet_agent.ports import Detector


class ModelSlot:
    """Holds the detector that serves; readers take the reference once a frame, so a swap falls between two frames.

    Attribute reads of Python objects are atomic, so ``current`` needs no lock: a reader sees the old or the new
    detector, whole. The lock orders writers only.
    """

    def __init__(self, detector: Detector) -> None:
        self._current = detector
        self._swaps = 0
        self._writer = threading.Lock()

    @property
    def current(self) -> Detector:
        """The detector to use for this frame."""
        return self._current

    @property
    def swaps(self) -> int:
        """How often the model was replaced since the start."""
        return self._swaps

    def swap(self, detector: Detector) -> Detector:
        """Makes another detector live and returns the one it replaced; the old one may still finish a frame."""
        with self._writer:
            old, self._current = self._current, detector
            self._swaps += 1
            return old
