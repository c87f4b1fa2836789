# SPDX-License-Identifier: Apache-2.0
"""The latest frame of each source, for the preview: kept by reference, drawn only when somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from helmet_agent.vision.drawing import draw_detections

if TYPE_CHECKING:
    from helmet_agent.ports import BgrImage
    from helmet_agent.services.pipeline import ProcessedFrame

JPEG_QUALITY = 80


class LatestFrames:
    """A ``FrameObserver`` that remembers one frame a source."""

    def __init__(self) -> None:
        self._frames: dict[str, ProcessedFrame] = {}

    def observe(self, processed: ProcessedFrame) -> None:
        """Remembers a frame."""
        self._frames[processed.source] = processed

    def get(self, source: str | None) -> ProcessedFrame | None:
        """The latest frame of a source, or of any when None; None when there is none."""
        if source is None:
            return next(iter(self._frames.values()), None)
        return self._frames.get(source)


def draw(processed: ProcessedFrame) -> BgrImage:
    """A copy of the frame with what was seen drawn into it."""
    return draw_detections(processed.frame.image, processed.report.detections)


def jpeg(processed: ProcessedFrame) -> bytes | None:
    """The drawn frame as JPEG; None when it cannot be encoded."""
    encoded, content = cv2.imencode(".jpg", draw(processed), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    return content.tobytes() if encoded else None
