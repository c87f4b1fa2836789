# SPDX-License-Identifier: Apache-2.0
"""Letterbox: fit a picture into the network's input without changing its shape, and map boxes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from helmet_agent.contract import Box


@dataclass(frozen=True, slots=True)
class LetterboxTransform:
    """Where a picture lies inside the network's input: ``input = source * scale + offset``.

    Attributes:
        scale: input pixels per source pixel, the same in both directions.
        offset_x, offset_y: the picture's top left corner in input pixels.
        width, height: size of the source picture in pixels.
    """

    scale: float
    offset_x: int
    offset_y: int
    width: int
    height: int


@dataclass(slots=True)
class PreparedFrame:
    """A picture ready for the network.

    Attributes:
        pixels: ``(input height, input width, 3)``, uint8, BGR, letterboxed; may be reused for the next frame.
        transform: the way back to source pixels.
    """

    pixels: NDArray[np.uint8]
    transform: LetterboxTransform
