# SPDX-License-Identifier: Apache-2.0
"""Training pictures: placed on a grey canvas at a random scale, alone or as a mosaic, mirrored, recoloured, spoiled.

Scales go well below 1 (zoom-out): heads in the data are about 40 px high at the network's input, on cameras under a
roof often 5 to 15. Shrinking averages over areas, as a camera's pixels do. Every function draws from the generator it
is given and from nothing else, so that a batch is a function of seed and step.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from helmet_cloud.training.classes import PAD_VALUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Region = tuple[int, int, int, int]
"""Part of a canvas: x1, y1, x2, y2 in px."""

KEPT_AREA = 0.4
"""Share that must remain of a box cut by a tile's edge, else it is dropped."""

SMALLEST_SIDE = 3.0
"""Smallest side (px at the network's input) worth learning from."""

NINE = 9
"""Tiles of the finer mosaic; the other one has four."""

_AS_SEEN, _GREY, _BLURRED, _COARSE, _MIRRORED = 0.25, 0.03, 0.1, 0.2, 0.5  # shares; coarse: cumulative with blurred


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture and its marks.

    Attributes:
        picture: ``[H, W, 3]`` uint8, BGR.
        boxes: ``[N, 4]`` float32, corners in px.
        classes: ``[N]`` int32, class ids.
        undecided: ``[N]`` bool; where set, the mark is no object but a region that counts neither for nor against it.
    """

    picture: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int32]
    undecided: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a picture goes: its region of the canvas, and its scale."""

    item: Labelled
    region: Region
    scale: float


def fit_scale(picture: NDArray[np.uint8], height: int, width: int) -> float:
    """The scale at which the picture just fits."""
    return min(height / int(picture.shape[0]), width / int(picture.shape[1]))


def _scaled_size(tile: Tile) -> tuple[int, int]:
    height, width = tile.item.picture.shape[:2]
    return max(1, round(height * tile.scale)), max(1, round(width * tile.scale))


def letterbox(item: Labelled, height: int, width: int) -> Labelled:
    """Scaled to fit, centred, the rest grey: what the agent does with a frame."""
    canvas = np.full((height, width, 3), PAD_VALUE, np.uint8)
    tile = Tile(item, (0, 0, width, height), fit_scale(item.picture, height, width))
    h, w = _scaled_size(tile)
    boxes = place(canvas, tile, ((width - w) // 2, (height - h) // 2))
    return Labelled(canvas, boxes, item.classes, item.undecided)


def place(canvas: NDArray[np.uint8], tile: Tile, corner: tuple[int, int]) -> NDArray[np.float32]:
    """Draws a picture with its top left at ``corner``, cut to its region; returns its boxes on the canvas, uncut."""
    h, w = _scaled_size(tile)
    x1, y1, x2, y2 = tile.region
    left, top = max(corner[0], x1), max(corner[1], y1)
    right, bottom = min(corner[0] + w, x2), min(corner[1] + h, y2)
    if right > left and bottom > top:
        method = cv2.INTER_AREA if tile.scale < 1 else cv2.INTER_LINEAR
        scaled = cv2.resize(tile.item.picture, (w, h), interpolation=method)
        cut = scaled[top - corner[1] : bottom - corner[1], left - corner[0] : right - corner[0]]
        canvas[top:bottom, left:right] = cut
    height, width = tile.item.picture.shape[:2]
    factor = np.array([w / width, h / height] * 2, np.float32)
    return tile.item.boxes * factor + np.array([*corner, *corner], np.float32)


def cut_boxes(boxes: NDArray[np.float32], region: Region) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes cut to the region, and which of them keep enough of themselves to stay."""
    x1, y1, x2, y2 = region
    low, high = np.array([x1, y1] * 2, np.float32), np.array([x2, y2] * 2, np.float32)
    cut = np.clip(boxes, low, high)
    sides = cut[:, 2:] - cut[:, :2]
    whole = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6), axis=1)
    keep = (np.prod(sides, axis=1) >= KEPT_AREA * whole) & (sides.min(axis=1, initial=np.inf) >= SMALLEST_SIDE)
    return cut, keep


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _corner(rng: np.random.Generator, start: int, end: int, size: int) -> int:
    """Where a side of ``size`` begins: anywhere inside the room, or, when it is bigger, anywhere that fills it."""
    a, b = start, end - size
    return int(rng.integers(min(a, b), max(a, b) + 1))


def compose(tiles: Sequence[Tile], height: int, width: int, rng: np.random.Generator) -> Labelled:
    """One canvas from one or several pictures, each at a random place of its region."""
    canvas = np.full((height, width, 3), PAD_VALUE, np.uint8)
    boxes, classes, undecided = [], [], []
    for tile in tiles:
        h, w = _scaled_size(tile)
        x1, y1, x2, y2 = tile.region
        corner = (_corner(rng, x1, x2, w), _corner(rng, y1, y2, h))
        cut, keep = cut_boxes(place(canvas, tile, corner), tile.region)
        boxes.append(cut[keep])
        classes.append(tile.item.classes[keep])
        undecided.append(tile.item.undecided[keep])
    return Labelled(canvas, np.concatenate(boxes), np.concatenate(classes), np.concatenate(undecided))


def single(item: Labelled, height: int, width: int, rng: np.random.Generator, scales: tuple[float, float]) -> Labelled:
    """One picture at a random scale relative to fitting; a quarter of them exactly as the agent sees it."""
    if rng.random() < _AS_SEEN:
        return letterbox(item, height, width)
    scale = fit_scale(item.picture, height, width) * _log_uniform(rng, *scales)
    return compose([Tile(item, (0, 0, width, height), scale)], height, width, rng)


def mosaic_regions(height: int, width: int, count: int, rng: np.random.Generator) -> list[Region]:
    """Four tiles around a random crossing, or nine even ones."""
    if count == NINE:
        xs = [0, width // 3, 2 * width // 3, width]
        ys = [0, height // 3, 2 * height // 3, height]
    else:
        xs = [0, int(width * rng.uniform(0.3, 0.7)), width]
        ys = [0, int(height * rng.uniform(0.3, 0.7)), height]
    return [(x1, y1, x2, y2) for y1, y2 in itertools.pairwise(ys) for x1, x2 in itertools.pairwise(xs)]


def mosaic(items: Sequence[Labelled], height: int, width: int, rng: np.random.Generator) -> Labelled:
    """Four or nine pictures on one canvas, from nearly fitting their tile to twice its size (then cut)."""
    regions = mosaic_regions(height, width, len(items), rng)
    tiles = [
        Tile(item, region, fit_scale(item.picture, region[3] - region[1], region[2] - region[0]) * factor)
        for item, region, factor in zip(items, regions, (_log_uniform(rng, 0.8, 2.0) for _ in items), strict=True)
    ]
    return compose(tiles, height, width, rng)


def mirror(item: Labelled) -> Labelled:
    """Left and right exchanged."""
    boxes = item.boxes.copy()
    boxes[:, [0, 2]] = item.picture.shape[1] - item.boxes[:, [2, 0]]
    return Labelled(np.ascontiguousarray(item.picture[:, ::-1]), boxes, item.classes, item.undecided)


def recolour(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Hue, saturation and brightness changed by up to 1.5, 50 and 40%; now and then grey, as night cameras are."""
    if rng.random() < _GREY:
        return np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)
    hue, saturation, value = rng.uniform(-1, 1, 3) * (0.015, 0.5, 0.4) + 1.0
    steps = np.arange(256, dtype=np.float32)
    tables = [(steps * hue) % 180, np.clip(steps * saturation, 0, 255), np.clip(steps * value, 0, 255)]
    lut = np.stack([table.astype(np.uint8) for table in tables], axis=-1)[None]
    hsv = cv2.LUT(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV), lut)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)


def spoil(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A tenth blurred, a tenth through a coarse JPEG: cheap lenses and streams."""
    kind = rng.random()
    if kind < _BLURRED:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    if kind < _COARSE:
        _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return picture


def finish(item: Labelled, rng: np.random.Generator) -> Labelled:
    """Half of the pictures mirrored, then colours and faults."""
    if rng.random() < _MIRRORED:
        item = mirror(item)
    return Labelled(spoil(recolour(item.picture, rng), rng), item.boxes, item.classes, item.undecided)
