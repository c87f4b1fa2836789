# SPDX-License-Identifier: Apache-2.0
"""The pictures of the proofs: a new site cut into scenes, and the old data sets with what was never trained on."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.durable import make_folder, write_atomic
from helmet_cloud.core.split import side_of
from helmet_cloud.labels import LABELS, place_pictures, write_coco
from helmet_cloud.training.sources import COMPLETE, FIXTURE, HEADS_ONLY, NEW_SITE, read_base_data, read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from helmet_cloud.labels import LabelledPicture

TRAIN_PROB = 0.65
"""Share of the new site's scenes that trains; the rest measures."""

BUSY_SHARE = 0.1
SEGMENT = 100
"""A camera with more than BUSY_SHARE of all pictures is cut into segments of so many picture numbers (hours)."""

_NAME = re.compile(r"(?P<camera>192_168_2_\d+)_(?P<recording>.*?)_?(?P<number>\d+)_jpg\.rf\..*")


@dataclass(frozen=True)
class ProofData:
    """Pictures of one proof, and Dataset files of them.

    Attributes:
        site: the pictures of the new site's training scenes, each with its scene.
        old: fully labelled old pictures that the base model was trained on.
        train: Sedna txt of the new site's training scenes.
        held_back: Sedna txt of its other scenes.
        unseen: Sedna txt of those of them whose camera is not in ``train`` at all.
        replay: COCO of old pictures that the base model was trained on.
        old_complete, old_heads: COCO of old pictures that no model was trained on.
        measured: COCO of all that is measured: ``held_back``, ``unseen``, ``old_complete``, ``old_heads``, and the
            ``fixture`` of free pictures, which no model was trained on either.
        pictures: how many there are, by the names above.
        scenes: numbers of training and held-back scenes.
    """

    site: tuple[tuple[str, LabelledPicture], ...]
    old: tuple[LabelledPicture, ...]
    train: Path
    held_back: Path
    unseen: Path
    replay: Path
    old_complete: Path
    old_heads: Path
    measured: dict[str, Path]
    pictures: dict[str, int]
    scenes: tuple[int, int]


def camera_of(picture: LabelledPicture) -> str:
    """The camera's address, as the pictures' names tell it."""
    found = _NAME.fullmatch(picture.path.name)
    return found["camera"] if found else picture.path.stem


def scenes_of(pictures: Sequence[LabelledPicture]) -> list[str]:
    """The scene of each picture: its camera; of a camera with many pictures, camera and time segment."""
    cameras = Counter(camera_of(picture) for picture in pictures)
    scenes = []
    for picture in pictures:
        camera, found = camera_of(picture), _NAME.fullmatch(picture.path.name)
        if found and cameras[camera] > BUSY_SHARE * len(pictures):
            camera = f"{camera} {found['recording']} {int(found['number']) // SEGMENT}"
        scenes.append(camera)
    return scenes


def prepare(data: Path, work: Path, say: Callable[[str], None]) -> ProofData:
    """Reads and splits everything, and writes the Dataset files below ``work``.

    Raises:
        AgentError: a data set is missing, or a file cannot be written.
    """
    make_folder(work)
    site = read_source(data, NEW_SITE, say)
    scenes = scenes_of(site)
    sides = [side_of(scene, TRAIN_PROB) for scene in scenes]
    train = [picture for picture, side in zip(site, sides, strict=True) if side == "train"]
    held = [picture for picture, side in zip(site, sides, strict=True) if side == "eval"]
    seen = {camera_of(picture) for picture in train}
    unseen = [picture for picture in held if camera_of(picture) not in seen]
    base = read_base_data(data, say)
    parts = {"train": train, "held_back": held, "unseen": unseen}
    files = {name: _sedna(work / f"{name}.txt", pictures) for name, pictures in parts.items()}
    old = {"replay": base.training, "old_complete": base.measured[COMPLETE], "old_heads": base.measured[HEADS_ONLY]}
    files |= {name: _coco(work / name, pictures) for name, pictures in old.items()}
    measured = {"held_back": held, "unseen": unseen, "fixture": base.measured[FIXTURE]}
    coco = {name: _coco(work / f"coco_{name}", pictures) for name, pictures in measured.items()}
    coco |= {name: files[name] for name in ("old_complete", "old_heads")}
    sizes = {name: len(pictures) for name, pictures in (parts | old | measured).items()}
    numbers = [
        len({scene for scene, one in zip(scenes, sides, strict=True) if one == side}) for side in ("train", "eval")
    ]
    shown = tuple((scene, picture) for scene, picture, side in zip(scenes, site, sides, strict=True) if side == "train")
    full = tuple(picture for picture in base.training if picture.complete >= COMPLETE.complete)
    return ProofData(shown, full, **files, measured=coco, pictures=sizes, scenes=(numbers[0], numbers[1]))


def _sedna(path: Path, pictures: Sequence[LabelledPicture]) -> Path:
    """Names are absolute, as in the files that the hub writes for its workers."""
    lines = []
    for picture in pictures:
        marks = [
            ",".join(str(round(edge)) for edge in mark.box) + f",{LABELS.index(mark.label)}" for mark in picture.boxes
        ]
        lines.append(" ".join([str(picture.path.resolve()), *marks]))
    write_atomic(path, "".join(f"{line}\n" for line in lines).encode())
    return path


def _coco(folder: Path, pictures: Sequence[LabelledPicture]) -> Path:
    make_folder(folder)
    path = folder / "labels.json"
    write_coco(path, place_pictures(pictures, folder / "images", "link"))
    return path
