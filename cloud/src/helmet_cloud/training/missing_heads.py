# SPDX-License-Identifier: Apache-2.0
"""Heads that the pictures show and nobody boxed.

Persons and heads of hard_hat_workers were labelled by two groups. The persons' file (arXiv:2106.10944) also marks every
head it could see with a point and says whether it wears a hard hat; the head boxes leave out 8 of 100 worn helmets and
25 of 100 bare heads, half of those of persons smaller than 64x64 px. A head without a box counts as background, and a
detector learns from that to be shy with small bare heads.

Where an earlier model sees a head of the right kind under the point, its box is taken. Elsewhere the surroundings of
the point become an undecided region for that kind. Nothing is done to pictures that only measure.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from helmet_agent.errors import UsageError
from helmet_cloud.evaluation import detect_pictures
from helmet_cloud.labels import IgnoreRegion, LabelBox, read_picture
from helmet_cloud.training.classes import HEADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from helmet_agent.contract import Box, Detection
    from helmet_agent.ports import Detector
    from helmet_cloud.labels import LabelledPicture

LEAST_SCORE = 0.05
"""A point says that there is a head, so that even a timid box under it is one."""

CLOSE_UP = (320, 176)
"""Width and height (px) of what is looked at again around a point: the network sees it at least twice as large."""

_KINDS = {"helmet_on": "helmet-on", "helmet_off": "helmet-off"}
_VISIBLE = 2  # a key point's flag in COCO
_MARGIN = 0.25  # of a box's sides: so far outside of it a point still belongs to it
_CUT = 2.0  # px; a box at a close-up's edge may be cut by it
_OF_WIDTH, _OF_HEIGHT = 0.75, 0.35  # a head is about as high as the smaller of these shares of its person's sides
_LEAST_SIZE = 4.0  # px; persons that are cut by the picture's edge may be thinner than a head
_SIZE_FACTOR, _SIZE_SLACK = 2.2, 4.0  # a box's height may differ by the factor and by so many px from the size


@dataclass(frozen=True, slots=True)
class HeadPoint:
    """A head that somebody pointed at.

    Attributes:
        label: ``helmet-on`` or ``helmet-off``.
        x, y: the point, in px of the picture.
        size: about how high the head is, in px, judged by its person's box.
    """

    label: str
    x: float
    y: float
    size: float


def read_head_points(file: Path) -> dict[str, list[HeadPoint]]:
    """Points by the picture's file name.

    Raises:
        UsageError: the file is missing, or is not COCO with key points.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        kinds = {kind["id"]: _KINDS.get(kind["name"]) for kind in content["categories"]}
        points: dict[str, list[HeadPoint]] = {}
        for mark in content["annotations"]:
            label = kinds[mark["category_id"]]
            x, y, flag = (float(value) for value in mark["keypoints"][:3])
            width, height = (float(side) for side in mark["bbox"][2:])
            if label is not None and flag == _VISIBLE:
                size = max(_LEAST_SIZE, min(_OF_WIDTH * width, _OF_HEIGHT * height))
                points.setdefault(names[mark["image_id"]], []).append(HeadPoint(label, x, y, size))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"no head points there: {file}: {error!r}") from error
    return points


def without_box(picture: LabelledPicture, points: Iterable[HeadPoint]) -> list[HeadPoint]:
    """Those of the points that no head box of the picture holds."""
    heads = [mark.box for mark in picture.boxes if mark.label in HEADS]
    return [point for point in points if not any(_holds(box, point, _MARGIN) for box in heads)]


def complete_heads(
    pictures: Sequence[LabelledPicture],
    points: Mapping[str, Sequence[HeadPoint]],
    detector: Detector,
    say: Callable[[str], None] = print,
) -> list[LabelledPicture]:
    """The same pictures with every pointed-at head boxed or undecided.

    Args:
        pictures: what will be trained on.
        points: by file name.
        detector: of an earlier model.
        say: takes the line with the numbers.

    Raises:
        SourceMissing: a picture is gone.
        ModelError: the network failed.
    """
    missing = {index: without_box(picture, points.get(picture.path.name, [])) for index, picture in enumerate(pictures)}
    missing = {index: found for index, found in missing.items() if found}
    seen = detect_pictures(detector, [pictures[index] for index in missing], min_score=LEAST_SCORE)
    completed = list(pictures)
    numbers: Counter[str] = Counter()
    for (index, found), whole in zip(missing.items(), seen, strict=True):
        candidates = [*whole, *_closer(pictures[index], found, detector)]
        completed[index] = _completed(pictures[index], found, candidates, numbers)
    told = ", ".join(f"{number} {what}" for what, number in sorted(numbers.items())) or "none"
    say(f"heads without a box in {len(missing)} pictures: {told}")
    return completed


def _completed(
    picture: LabelledPicture, points: Sequence[HeadPoint], candidates: list[Detection], numbers: Counter[str]
) -> LabelledPicture:
    boxes, regions = list(picture.boxes), list(picture.ignore)
    for point in points:
        fitting = [seen for seen in candidates if _fits(seen, point)]
        if fitting:
            best = max(fitting, key=lambda seen: seen.score)
            candidates.remove(best)
            boxes.append(LabelBox(point.label, best.box, best.score))
        else:
            regions.append(IgnoreRegion(_around(point, picture), point.label))
        numbers[f"{point.label} {'boxed' if fitting else 'undecided'}"] += 1
    return replace(picture, boxes=tuple(boxes), ignore=tuple(regions))


def _closer(picture: LabelledPicture, points: Sequence[HeadPoint], detector: Detector) -> list[Detection]:
    """What the detector sees around each point, in px of the whole picture."""
    image = read_picture(picture.path)
    width, height = min(CLOSE_UP[0], picture.width), min(CLOSE_UP[1], picture.height)
    found: list[Detection] = []
    for point in points:
        left = int(np.clip(point.x - width / 2, 0, picture.width - width))
        top = int(np.clip(point.y - height / 2, 0, picture.height - height))
        part = np.ascontiguousarray(image[top : top + height, left : left + width])
        for seen in detector.infer(detector.prepare(part, None), min_score=LEAST_SCORE):
            x1, y1, x2, y2 = seen.box
            if min(x1, y1, width - x2, height - y2) > _CUT:
                found.append(replace(seen, box=(x1 + left, y1 + top, x2 + left, y2 + top)))
    return found


def _fits(seen: Detection, point: HeadPoint) -> bool:
    height = seen.box[3] - seen.box[1]
    smaller, larger = sorted((height, point.size))
    likely = larger <= smaller * _SIZE_FACTOR + _SIZE_SLACK
    return seen.label == point.label and likely and _holds(seen.box, point, 0.0)


def _holds(box: Box, point: HeadPoint, margin: float) -> bool:
    x1, y1, x2, y2 = box
    across, down = margin * (x2 - x1), margin * (y2 - y1)
    return x1 - across <= point.x <= x2 + across and y1 - down <= point.y <= y2 + down


def _around(point: HeadPoint, picture: LabelledPicture) -> Box:
    """A square with sides of one and a half heads, cut to the picture."""
    reach = 0.75 * point.size
    return (
        max(0.0, point.x - reach),
        max(0.0, point.y - reach),
        min(float(picture.width), point.x + reach),
        min(float(picture.height), point.y + reach),
    )
