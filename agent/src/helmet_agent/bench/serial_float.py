# SPDX-License-Identifier: Apache-2.0
"""The comparator, frozen: the loop that Sedna's helmet example has, on the float variant of the same network.

One frame after the other on one thread: decode, letterbox to float, infer, decode the boxes, draw, and write every
processed frame as a JPEG (the shape of Sedna's helmet_detection inference example at commit 2c30e569, where each result
goes to RESULT_SAVED_URL). OpenCV's and numpy's own functions do the work, grids are made once, no Python loop runs over
pixels or cells: it is as fast as that shape can honestly be. Do not make it slower or faster: figures of different
releases are compared through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from helmet_agent.contract import ModelManifest
    from helmet_agent.ports import BgrImage, RawOutput

    FloatInfer = Callable[[NDArray[np.uint8]], Sequence[RawOutput]]
    FoundBox = tuple[int, float, tuple[float, float, float, float]]

JPEG_QUALITY = 95
"""OpenCV's default, which the example uses."""


class SerialFloatLoop:
    """Sedna's loop over one clip.

    Args:
        infer: runs the float network on a letterboxed picture ``(height, width, 3)``, BGR, 0..255, which it widens to
            float32 itself.
        manifest: of the int8 sibling: same input size, labels, thresholds and layout.
        results: folder for the picture of every processed frame.
    """

    def __init__(self, infer: FloatInfer, manifest: ModelManifest, results: Path) -> None:
        self._infer = infer
        self._manifest = manifest
        self._results = results
        self._grids = [
            np.mgrid[0 : manifest.input.height // stride, 0 : manifest.input.width // stride].astype(np.float32)
            for stride in manifest.outputs.strides
        ]
        self.frames = 0

    def run(self, clip: Path, limit: int) -> int:
        """Processes at most ``limit`` frames from the start of the clip; returns how many there were."""
        done = 0
        for image in _frames(clip, limit):
            self.process(image)
            done += 1
        return done

    def process(self, image: BgrImage) -> list[FoundBox]:
        """One frame: (label index, score, box in source pixels) of what was found."""
        spec = self._manifest.input
        height, width = image.shape[:2]
        scale = min(spec.width / width, spec.height / height)
        new_width, new_height = round(width * scale), round(height * scale)
        left, top = (spec.width - new_width) // 2, (spec.height - new_height) // 2
        blob: BgrImage = cv2.copyMakeBorder(  # type: ignore[assignment]  # cv2 types it as MatLike; it is uint8 (h, w, 3)
            cv2.resize(image, (new_width, new_height)),
            top,
            spec.height - new_height - top,
            left,
            spec.width - new_width - left,
            cv2.BORDER_CONSTANT,
            value=(spec.pad_value,) * 3,
        )
        found = self._decode(self._infer(blob), scale, left, top)
        self._draw_and_save(image, found)
        return found

    def _decode(self, outputs: Sequence[RawOutput], scale: float, left: int, top: int) -> list[FoundBox]:
        scores, corners = [], []
        for index, stride in enumerate(self._manifest.outputs.strides):
            classes, boxes = outputs[2 * index].values, outputs[2 * index + 1].values
            rows, columns = classes.shape[:2]
            grid_y, grid_x = self._grids[index]
            logits = classes - self._manifest.outputs.class_logit_offset
            scores.append((1.0 / (1.0 + np.exp(-logits))).reshape(rows * columns, -1))
            centre_x, centre_y = (boxes[..., 0] + grid_x) * stride, (boxes[..., 1] + grid_y) * stride
            size_x, size_y = np.exp(boxes[..., 2]) * stride, np.exp(boxes[..., 3]) * stride
            stacked = np.stack((centre_x - size_x / 2, centre_y - size_y / 2, size_x, size_y), -1)
            corners.append(stacked.reshape(rows * columns, 4))
        return self._suppress(np.concatenate(scores), np.concatenate(corners), scale, (left, top))

    def _suppress(
        self, scores: NDArray[Any], corners: NDArray[Any], scale: float, offset: tuple[int, int]
    ) -> list[FoundBox]:
        found: list[FoundBox] = []
        thresholds = self._manifest.thresholds
        for index, label in enumerate(self._manifest.labels):
            chosen = scores[:, index] >= thresholds.score[label]
            boxes, values = corners[chosen], scores[chosen, index]
            for kept in cv2.dnn.NMSBoxes(boxes.tolist(), values.tolist(), 0.0, thresholds.nms_iou):
                x, y, w, h = (float(edge) for edge in boxes[int(kept)])
                x, y = (x - offset[0]) / scale, (y - offset[1]) / scale
                found.append((index, float(values[int(kept)]), (x, y, x + w / scale, y + h / scale)))
        return found

    def _draw_and_save(self, image: BgrImage, found: list[FoundBox]) -> None:
        for index, score, (x1, y1, x2, y2) in found:
            cv2.rectangle(image, (int(x1), int(y1)), (int(x2), int(y2)), (0, 255, 0), 2)
            text = f"{self._manifest.labels[index]} {score:.2f}"
            cv2.putText(image, text, (int(x1), int(y1) - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 255, 0), 1)
        quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
        # One name over and over: the disk fills no faster than one picture, the work is that of every frame.
        cv2.imwrite(str(self._results / f"{self.frames % 16}.jpeg"), image, quality)
        self.frames += 1


def _frames(clip: Path, limit: int) -> Iterator[BgrImage]:
    capture = cv2.VideoCapture(str(clip))
    try:
        for _ in range(limit):
            grabbed, image = capture.read()
            if not grabbed:
                return
            yield image  # type: ignore[misc]  # cv2 types frames as MatLike, they are uint8 (h, w, 3)
    finally:
        capture.release()
