# SPDX-License-Identifier: Apache-2.0
"""How boxes lie to one another and to the picture: plain floats, since a rule looks at a handful of boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helmet_agent.contract import Box

PERSON = "person"
HELMET_ON = "helmet-on"
HELMET_OFF = "helmet-off"
HEADS = frozenset({HELMET_ON, HELMET_OFF})


def overlap(a: Box, b: Box) -> float:
    """Area of the intersection, in square pixels."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def area(box: Box) -> float:
    """In square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    """Intersection over union, in [0, 1]."""
    shared = overlap(a, b)
    return shared / (area(a) + area(b) - shared) if shared else 0.0


def covered(box: Box, by: Box) -> float:
    """Share of a box that lies under another, in [0, 1]."""
    return overlap(box, by) / area(box) if area(box) > 0 else 0.0


def centre_within(box: Box, region: Box) -> bool:
    """Whether the centre of a box lies in a region, edges included."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return region[0] <= x <= region[2] and region[1] <= y <= region[3]


def at_border(box: Box, width: int, height: int, margin: float) -> bool:
    """Whether a box comes nearer to the picture's edge than ``margin``, a share of the picture's smaller side."""
    pixels = margin * min(width, height)
    return box[0] < pixels or box[1] < pixels or box[2] > width - pixels or box[3] > height - pixels
