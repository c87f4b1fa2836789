# SPDX-License-Identifier: Apache-2.0
"""Draws what was seen into a copy of a frame, for the preview and the annotated video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from helmet_agent.contract import Detection

_Colour = tuple[int, int, int]
_Rect = tuple[int, int, int, int]

_DARK: _Colour = (24, 24, 24)
_LIGHT: _Colour = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_REFERENCE_SIDE = 960  # longer side of a picture that is drawn on with lines and letters of the plain size
_SMALLEST_ZOOM = 0.9  # smaller letters cannot be read
_FONT_PIXELS = 22.0  # height of the font's capitals at scale 1
_LIGHT_LUMINANCE = 140.0  # colours from here on carry dark letters


@dataclass(frozen=True, slots=True)
class _Style:
    """How one label looks.

    Attributes:
        colour: BGR.
        width: of the line, in pixels of a ``_REFERENCE_SIDE`` picture.
        text: height of the letters, likewise.
        layer: drawing order; the highest is drawn last and chooses first where its text goes.
    """

    colour: _Colour
    width: float
    text: float
    layer: int


# Okabe and Ito's palette, told apart with any kind of colour blindness (jfly.uni-koeln.de/color): blue against
# vermilion, and what matters most has the boldest line besides.
_STYLES = {
    "person": _Style((205, 205, 205), 1.2, 9.0, 0),
    "helmet": _Style((66, 228, 240), 1.2, 9.0, 1),
    "helmet-on": _Style((233, 180, 86), 2.0, 10.5, 2),
    "helmet-off": _Style((30, 94, 235), 3.4, 11.5, 3),
}
_OTHER = _Style((167, 121, 204), 2.0, 10.5, 1)


def draw_detections(image: NDArray[np.uint8], detections: Sequence[Detection]) -> NDArray[np.uint8]:
    """Draws boxes, labels and scores.

    Args:
        image: ``(height, width, 3)``, uint8, BGR; not changed.
        detections: in source pixels, in any order.

    Returns:
        A copy of the picture with the drawing; lines and letters grow with it.
    """
    picture: NDArray[np.uint8] = np.array(image, np.uint8, order="C")
    height, width = picture.shape[:2]
    zoom = max(_SMALLEST_ZOOM, max(height, width) / _REFERENCE_SIDE)
    ordered = sorted(detections, key=lambda one: (_style(one.label).layer, one.score))
    boxes = [_pixels(one, width, height) for one in ordered]
    # A dark seam under each line keeps it visible on bright and coloured ground.
    for one, box in zip(ordered, boxes, strict=True):
        _outline(picture, box, _DARK, _line(one.label, zoom) + 2)
    for one, box in zip(ordered, boxes, strict=True):
        _outline(picture, box, _style(one.label).colour, _line(one.label, zoom))
    for place, one, text in _tags(ordered, boxes, (width, height), zoom):
        _tag(picture, place, text, one.label, zoom)
    return picture


def _tags(
    ordered: Sequence[Detection], boxes: Sequence[_Rect], limits: tuple[int, int], zoom: float
) -> list[tuple[_Rect, Detection, str]]:
    """Where each text goes, in drawing order; those of people are left out where there is no room."""
    tags: list[tuple[_Rect, Detection, str]] = []
    heads = [box for one, box in zip(ordered, boxes, strict=True) if one.label != "person"]
    for one, box in reversed(list(zip(ordered, boxes, strict=True))):
        text = f"{one.label} {one.score:.0%}"
        candidates = _candidates(one.label, box, _text_size(text, one.label, zoom), limits)
        texts = [place for place, _, _ in tags]
        faces = [other for other in heads if other != box]
        place = _free(candidates, texts + faces) or _free(candidates, texts)
        if place is None and one.label != "person":
            place = candidates[0]
        if place is not None:
            tags.append((place, one, text))
    return tags[::-1]


def _style(label: str) -> _Style:
    return _STYLES.get(label, _OTHER)


def _line(label: str, zoom: float) -> int:
    return max(1, round(_style(label).width * zoom))


def _pixels(found: Detection, width: int, height: int) -> _Rect:
    limits = (width - 1, height - 1) * 2
    x1, y1, x2, y2 = (min(max(round(edge), 0), limit) for edge, limit in zip(found.box, limits, strict=True))
    return x1, y1, x2, y2


def _outline(picture: NDArray[np.uint8], box: _Rect, colour: _Colour, width: int) -> None:
    cv2.rectangle(picture, box[:2], box[2:], colour, width, cv2.LINE_AA)


def _padding(zoom: float) -> int:
    return max(2, round(3 * zoom))


def _font_scale(label: str, zoom: float) -> float:
    return _style(label).text * zoom / _FONT_PIXELS


def _text_size(text: str, label: str, zoom: float) -> tuple[int, int]:
    (width, height), _ = cv2.getTextSize(text, _FONT, _font_scale(label, zoom), 1)
    return width + 2 * _padding(zoom), height + 2 * _padding(zoom)


def _candidates(label: str, box: _Rect, size: tuple[int, int], limits: tuple[int, int]) -> list[_Rect]:
    """Places for a text within the picture, the best first: a head's above it, a person's at the feet."""
    x1, y1, x2, y2 = box
    w, h = size
    above, below, feet, top = (x1, y1 - h), (x1, y2), (x1, y2 - h), (x1, y1)
    right, left, far = (x2, y1), (x1 - w, y1), (x2 - w, y2 - h)
    corners = [feet, far, below] if label == "person" else [above, right, left, below, top]
    found: list[_Rect] = []
    for x, y in corners:
        inside_x, inside_y = min(max(x, 0), max(limits[0] - w, 0)), min(max(y, 0), max(limits[1] - h, 0))
        # Moved far from where it belongs, a text would point to somebody else.
        if abs(inside_y - y) <= h // 4 and (abs(inside_x - x) <= h // 4 or (x, y) in {above, below, feet, top}):
            found.append((inside_x, inside_y, inside_x + w, inside_y + h))
    return found or [(max(x1, 0), max(y1, 0), x1 + w, y1 + h)]


def _free(candidates: list[_Rect], taken: list[_Rect]) -> _Rect | None:
    return next((place for place in candidates if not any(_touch(place, other) for other in taken)), None)


def _touch(one: _Rect, other: _Rect) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _tag(picture: NDArray[np.uint8], place: _Rect, text: str, label: str, zoom: float) -> None:
    blue, green, red = _style(label).colour
    cv2.rectangle(picture, place[:2], place[2:], (blue, green, red), cv2.FILLED)
    letters = _DARK if 0.114 * blue + 0.587 * green + 0.299 * red >= _LIGHT_LUMINANCE else _LIGHT
    origin = (place[0] + _padding(zoom), place[3] - _padding(zoom))
    cv2.putText(picture, text, origin, _FONT, _font_scale(label, zoom), letters, 1, cv2.LINE_AA)
