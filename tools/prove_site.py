# SPDX-License-Identifier: Apache-2.0
"""The new site as cameras, and the person who labels what they show.

Each scene becomes a film without loss, one picture every few seconds; a camera of its own plays it over and over. What
arrives at the hub says which camera took it and the number of its frame, and so which picture it shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2

from helmet_agent.durable import make_folder, write_atomic
from helmet_agent.errors import SourceMissing, StorageError
from helmet_demo.labelling import line_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from helmet_cloud.labels import LabelledPicture

FRAMES_A_SECOND = 0.2
"""All cameras together then give the agent some frames a second and leave the cores to the training."""

PASSES = 2
"""When a film has been played so often, what has not arrived does not come any more."""

_CODEC = "HFYU"  # no loss, and quick to decode


@dataclass(frozen=True)
class SceneCamera:
    """A camera that shows one scene.

    Attributes:
        name: as the agent calls it.
        film: what it plays.
        pictures: with their labels, in the film's order.
    """

    name: str
    film: Path
    pictures: tuple[LabelledPicture, ...]


def make_cameras(
    shown: Iterable[tuple[str, LabelledPicture]], folder: Path, frames_a_second: float = FRAMES_A_SECOND
) -> list[SceneCamera]:
    """Writes the films; a scene with pictures of two sizes becomes two cameras.

    Args:
        shown: pictures with their scenes.
        folder: for the films.
        frames_a_second: of every film.

    Raises:
        SourceMissing: a picture cannot be read.
        StorageError: a film cannot be written.
    """
    make_folder(folder)
    scenes: dict[tuple[str, int, int], list[LabelledPicture]] = {}
    for scene, picture in shown:
        scenes.setdefault((scene, picture.width, picture.height), []).append(picture)
    cameras = []
    for number, ((scene, _, _), pictures) in enumerate(sorted(scenes.items()), 1):
        name = f"{number:02d}-" + re.sub(r"[^A-Za-z0-9]+", "-", scene).strip("-")[:50]
        pictures.sort(key=lambda picture: picture.path.name)
        film = folder / f"{name}.avi"
        write_film(film, pictures, frames_a_second)
        cameras.append(SceneCamera(name, film, tuple(pictures)))
    return cameras


def write_film(film: Path, pictures: Sequence[LabelledPicture], frames_a_second: float = FRAMES_A_SECOND) -> None:
    """Writes pictures of one size as a film without loss.

    Raises:
        SourceMissing: a picture cannot be read.
        StorageError: the film cannot be written.
    """
    size = (pictures[0].width, pictures[0].height)
    writer = cv2.VideoWriter(str(film), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*_CODEC), frames_a_second, size)
    if not writer.isOpened():
        raise StorageError(f"{film}: the film cannot be written; check the folder")
    try:
        for picture in pictures:
            image = cv2.imread(str(picture.path))
            if image is None or (image.shape[1], image.shape[0]) != size:
                raise SourceMissing(f"{picture.path}: no picture of {size[0]}x{size[1]} pixels any more")
            writer.write(image)
    finally:
        writer.release()


class SiteLabeller:
    """Labels what arrived, all at once when every picture is there or does not come any more.

    Args:
        cameras: of the site.
        folder: for the file to import.
    """

    def __init__(self, cameras: Iterable[SceneCamera], folder: Path) -> None:
        self._cameras = {camera.name: camera for camera in cameras}
        self._folder = folder
        self._labelled: dict[str, LabelledPicture] = {}

    @property
    def shown(self) -> int:
        """How many pictures the cameras show."""
        return sum(len(camera.pictures) for camera in self._cameras.values())

    @property
    def labelled(self) -> int:
        """Pictures labelled so far."""
        return len(self._labelled)

    @property
    def complete(self) -> bool:
        """Whether it has labelled."""
        return bool(self._labelled)

    @property
    def done(self) -> str:
        """In words what was labelled so far."""
        return f"{self.labelled} of {self.shown} pictures in one import, from the site's own labels"

    def picture_of(self, example: dict[str, Any]) -> LabelledPicture | None:
        """The picture that an example shows; None where its camera is not of this site."""
        record = example["record"]
        camera = self._cameras.get(str(record["source"]))
        return None if camera is None else camera.pictures[int(record["frame"]) % len(camera.pictures)]

    def arrived(self, examples: Sequence[dict[str, Any]]) -> str:
        """In words what has arrived."""
        return f"{len(self._first(examples))} of {self.shown} pictures"

    def due(self, status: dict[str, Any], examples: Sequence[dict[str, Any]]) -> bool:
        """Whether all has arrived, or every film was played twice and nothing waits to be sent."""
        if self.complete or not examples:
            return False
        if len(self._first(examples)) == self.shown:
            return True
        read = {str(source["name"]): int(source["frames_read"]) for source in status["sources"]}
        pending = int((status.get("spool") or {}).get("pending", 0))
        played = all(read.get(one.name, 0) > PASSES * len(one.pictures) for one in self._cameras.values())
        return played and pending == 0

    def write_batch(self, examples: Iterable[dict[str, Any]]) -> Path | None:
        """Writes the labels of each picture, for the first example of it, in Sedna's text format.

        Raises:
            StorageError: the file cannot be written.
        """
        self._labelled = self._first(examples)
        if not self._labelled:
            return None
        make_folder(self._folder)
        path = self._folder / "labels.txt"
        write_atomic(path, "".join(line_of(sha256, one.boxes) for sha256, one in self._labelled.items()).encode())
        return path

    def _first(self, examples: Iterable[dict[str, Any]]) -> dict[str, LabelledPicture]:
        """The first example of each picture, by its digest."""
        found: dict[Path, tuple[str, LabelledPicture]] = {}
        for example in examples:
            picture = self.picture_of(example)
            if picture is not None:
                found.setdefault(picture.path, (str(example["record"]["sha256"]), picture))
        return dict(found.values())
