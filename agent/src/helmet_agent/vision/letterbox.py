# SPDX-License-Identifier: Apache-2.0
"""Letterbox: fit a picture into the network's input without changing its shape, and map boxes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class LetterboxTransform:
    """Where a picture lies inside the network's input: ``input = source * scale + offset`` on either axis.

    Attributes:
        scale_x, scale_y: input pixels per source pixel. The two differ by less than one input pixel over the whole
            picture, since its size in the input is a whole number of pixels; one common scale would be off by that.
        offset_x, offset_y: the picture's top left corner in input pixels.
        width, height: size of the source picture in pixels.
    """

    scale_x: float
    scale_y: float
    offset_x: int
    offset_y: int
    width: int
    height: int

    def to_source(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Maps boxes from the network's input to the picture and clips them to it.

        Args:
            boxes: ``(n, 4)`` corners x1, y1, x2, y2 in input pixels.

        Returns:
            ``(n, 4)`` float64 corners in source pixels, within [0, width] and [0, height].
        """
        found = (_four(boxes) - self._offsets()) / self._scales()
        return np.clip(found, 0.0, np.array([self.width, self.height, self.width, self.height], np.float64))

    def to_input(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Maps boxes from the picture to the network's input: the inverse of ``to_source`` inside the picture.

        Args:
            boxes: ``(n, 4)`` corners x1, y1, x2, y2 in source pixels.

        Returns:
            ``(n, 4)`` float64 corners in input pixels, not clipped.
        """
        return _four(boxes) * self._scales() + self._offsets()

    def _scales(self) -> NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y], np.float64)

    def _offsets(self) -> NDArray[np.float64]:
        return np.array([self.offset_x, self.offset_y, self.offset_x, self.offset_y], np.float64)


@dataclass(slots=True)
class PreparedFrame:
    """A picture ready for the network, and the buffers that the next one can be prepared in.

    Attributes:
        pixels: ``(input height, input width, 3)``, uint8, BGR, letterboxed; may be reused for the next frame.
        transform: the way back to source pixels.
        halves: scratch pictures for sources more than twice as large as the input, largest first.
    """

    pixels: NDArray[np.uint8]
    transform: LetterboxTransform
    halves: tuple[NDArray[np.uint8], ...] = ()


class Letterbox:
    """Scales a picture to fit, centres it and fills the rest with grey.

    Holds no buffers itself: those live in the ``PreparedFrame``, so several threads may share one letterbox.

    Args:
        height, width: the network's input in pixels.
        pad_value: grey level of the border, 0..255.
    """

    def __init__(self, height: int, width: int, pad_value: int = 114) -> None:
        self.height = height
        self.width = width
        self.pad_value = pad_value

    def transform(self, height: int, width: int) -> LetterboxTransform:
        """Where a source picture of that size in pixels comes to lie."""
        inner_h, inner_w = self._inner(height, width)
        halvings = _halvings(height, width, inner_h, inner_w)
        return LetterboxTransform(
            # Halving leaves out an odd last row or column, so the input shows that much less of the picture.
            scale_x=inner_w / ((width >> halvings) << halvings),
            scale_y=inner_h / ((height >> halvings) << halvings),
            offset_x=(self.width - inner_w) // 2,
            offset_y=(self.height - inner_h) // 2,
            width=width,
            height=height,
        )

    def prepare(self, image: NDArray[np.uint8], reuse: PreparedFrame | None = None) -> PreparedFrame:
        """Letterboxes one picture.

        Args:
            image: ``(height, width, 3)``, uint8, BGR, neither side 0.
            reuse: an earlier result that nobody needs any more; its buffers are overwritten and it is returned.

        Raises:
            ValueError: the array is no such picture.
        """
        if image.ndim != _CHANNELS or image.shape[2] != _CHANNELS or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"expected a uint8 picture (height, width, 3), found {image.dtype} {image.shape}")
        height, width = image.shape[:2]
        frame = reuse
        if frame is None or frame.pixels.shape != (self.height, self.width, _CHANNELS):
            frame = PreparedFrame(self._blank(), self.transform(height, width))
        elif (frame.transform.height, frame.transform.width) != (height, width):
            # Only another geometry moves the border; frames of one source never pay for it twice.
            frame.pixels[:] = self.pad_value
            frame.transform, frame.halves = self.transform(height, width), ()
        inner_h, inner_w = self._inner(height, width)
        if not frame.halves:
            frame.halves = tuple(
                np.empty((height >> step, width >> step, _CHANNELS), np.uint8)
                for step in range(1, _halvings(height, width, inner_h, inner_w) + 1)
            )
        for half in frame.halves:
            even = image[: half.shape[0] * 2, : half.shape[1] * 2]
            cv2.resize(even, half.shape[1::-1], dst=half, interpolation=cv2.INTER_AREA)
            image = half
        left, top = frame.transform.offset_x, frame.transform.offset_y
        inner = frame.pixels[top : top + inner_h, left : left + inner_w]
        cv2.resize(image, (inner_w, inner_h), dst=inner, interpolation=cv2.INTER_LINEAR)
        return frame

    def _inner(self, height: int, width: int) -> tuple[int, int]:
        """Size of the picture within the input; however thin it is, at least one pixel of it is shown."""
        scale = min(self.height / height, self.width / width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _blank(self) -> NDArray[np.uint8]:
        return np.full((self.height, self.width, _CHANNELS), self.pad_value, np.uint8)


def _halvings(height: int, width: int, inner_h: int, inner_w: int) -> int:
    """How often a picture is halved before less than a factor of two is left to the input.

    Linear interpolation over more than two source pixels skips some, which makes small heads flicker. Averaging at the
    exact factor of two is nearly free (1080p: 0.05 ms more than linear alone), while OpenCV's area interpolation at
    the final, odd factor costs 5 ms.
    """
    count = 0
    while height >> (count + 1) >= inner_h and width >> (count + 1) >= inner_w:
        count += 1
    return count


def _four(boxes: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(boxes, np.float64).reshape(-1, 4)
