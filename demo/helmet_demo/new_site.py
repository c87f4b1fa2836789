# SPDX-License-Identifier: Apache-2.0
"""The demo's new site: who walks through its clips, from hand-drawn key frames (``demo/site/keyframes.toml``).

Between two key frames every edge of a box moves linearly. What is held back is held back by passage: one person walking
through the picture once, so that no neighbouring frames lie on both sides.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmet_agent.contract import Box  # noqa: TC001
from helmet_cloud.labels import LabelBox

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAIN, HELD_BACK, REGRESSION = "train", "held-back", "regression"
USES = (TRAIN, HELD_BACK, REGRESSION)
KEYFRAMES = Path(__file__).resolve().parents[1] / "site" / "keyframes.toml"

_KEY_LENGTH = 9


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip that comes with the agent.

    Attributes:
        name: short, for file names.
        file: its file's name.
        width, height: in pixels.
        frames: how many there are.
    """

    name: str
    file: str
    width: int
    height: int
    frames: int


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """What was drawn in one frame.

    Attributes:
        frame: its number, from 0.
        person, head: corners in pixels of the clip.
    """

    frame: int
    person: Box
    head: Box


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a clip with one person, or with nobody, in it.

    Attributes:
        clip: which.
        use: one of USES.
        who: in words.
        first, last: its frames, both included.
        head: the label of the head.
        keys: by frame; none where nobody is there.
    """

    clip: Clip
    use: str
    who: str
    first: int
    last: int
    head: str = ""
    keys: tuple[KeyFrame, ...] = ()

    def __contains__(self, frame: object) -> bool:
        return isinstance(frame, int) and self.first <= frame <= self.last

    def boxes(self, frame: int) -> tuple[LabelBox, ...]:
        """What is in a frame of this passage: person and head, or nothing.

        Raises:
            ValueError: the frame does not belong to it.
        """
        if frame not in self:
            raise ValueError(f"frame {frame} is not in {self.first} to {self.last}")
        if not self.keys:
            return ()
        after = bisect_right(self.keys, frame, key=lambda key: key.frame)
        before = self.keys[after - 1]
        following = self.keys[min(after, len(self.keys) - 1)]
        share = (frame - before.frame) / max(1, following.frame - before.frame)
        return (
            LabelBox("person", between(before.person, following.person, share)),
            LabelBox(self.head, between(before.head, following.head, share)),
        )


@dataclass(frozen=True, slots=True)
class Site:
    """All passages."""

    passages: tuple[Passage, ...]

    def of(self, use: str) -> tuple[Passage, ...]:
        """The passages of one use."""
        return tuple(passage for passage in self.passages if passage.use == use)

    def labels(self, file: str, frame: int, use: str) -> tuple[LabelBox, ...] | None:
        """What a frame of a clip holds; None where it belongs to no passage of that use."""
        for passage in self.of(use):
            if passage.clip.file == file and frame in passage:
                return passage.boxes(frame)
        return None


def between(before: Box, after: Box, share: float) -> Box:
    """The box at ``share`` (in [0, 1]) of the way from one to the other."""
    x1, y1, x2, y2 = ((1.0 - share) * low + share * high for low, high in zip(before, after, strict=True))
    return (x1, y1, x2, y2)


def read_site(file: Path = KEYFRAMES) -> Site:
    """Reads the key frames.

    Raises:
        ValueError: a box does not lie in its picture or a head not in its person, key frames are out of order, passages
            overlap.
    """
    document = tomllib.loads(file.read_text())
    clips = {name: Clip(name, **about) for name, about in document["clips"].items()}
    passages = [
        *(_passage(clips[one["clip"]], one) for one in document["passages"]),
        *(
            Passage(clips[one["clip"]], one["use"], "nobody", int(one["first"]), int(one["last"]))
            for one in document["empty"]
        ),
    ]
    for passage in passages:
        for problem in _problems(passage, passages):
            raise ValueError(f"{file}: {passage.clip.name} {passage.first} to {passage.last}: {problem}")
    return Site(tuple(sorted(passages, key=lambda one: (one.clip.name, one.first))))


def _passage(clip: Clip, given: dict[str, Any]) -> Passage:
    keys = tuple(_key(row) for row in given["keys"])
    return Passage(clip, given["use"], given["who"], keys[0].frame, keys[-1].frame, given["head"], keys)


def _key(row: list[int]) -> KeyFrame:
    if len(row) != _KEY_LENGTH:
        raise ValueError(f"expected a frame and two boxes, found {row}")
    frame, *edges = row
    at = [float(edge) for edge in edges]
    return KeyFrame(frame, (at[0], at[1], at[2], at[3]), (at[4], at[5], at[6], at[7]))


def _problems(passage: Passage, others: list[Passage]) -> Iterator[str]:
    if passage.use not in USES:
        yield f"use {passage.use!r} is none of {', '.join(USES)}"
    if not 0 <= passage.first <= passage.last < passage.clip.frames:
        yield f"outside of the clip's {passage.clip.frames} frames"
    for one in others:
        if one is not passage and one.clip == passage.clip and one.first <= passage.last and passage.first <= one.last:
            yield f"overlaps with {one.first} to {one.last}"
    frames = [key.frame for key in passage.keys]
    if frames != sorted(set(frames)):
        yield "key frames are out of order"
    for key in passage.keys:
        if not inside(key.person, (0.0, 0.0, passage.clip.width, passage.clip.height)):
            yield f"key frame {key.frame}: the person lies outside of the picture"
        if not inside(key.head, key.person):
            yield f"key frame {key.frame}: the head lies outside of the person"


def inside(inner: Box, outer: Box) -> bool:
    """Whether a box with a size lies in another one."""
    return outer[0] <= inner[0] < inner[2] <= outer[2] and outer[1] <= inner[1] < inner[3] <= outer[3]
