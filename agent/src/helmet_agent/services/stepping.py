# SPDX-License-Identifier: Apache-2.0
"""Passing over frames cheaply: sources that step without converting pixels, and the same face for those that cannot."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from helmet_agent.ports import Frame, FrameSource


@runtime_checkable
class SteppingSource(Protocol):
    """A ``FrameSource`` that takes a frame in two steps; all sources that ship with the agent do."""

    @property
    def name(self) -> str:
        """See ``FrameSource``."""

    @property
    def live(self) -> bool:
        """See ``FrameSource``."""

    @property
    def frames_per_second(self) -> float:
        """The rate of the source's own time; 0.0 where it has none, as folders and cameras."""

    @property
    def faults(self) -> Mapping[str, int]:
        """What was wrong with the material, counted by cause: ``truncated``, ``unreadable``."""

    def open(self) -> None:
        """See ``FrameSource``."""

    def grab(self) -> bool:
        """Steps to the next frame; blocks and raises as ``FrameSource.read``; False at the end."""

    def retrieve(self) -> Frame | None:
        """The frame stepped to, or None when just this one is unreadable; raises as ``FrameSource.read``."""

    def close(self) -> None:
        """See ``FrameSource``."""


def stepping(source: FrameSource) -> SteppingSource:
    """The source itself if it steps, else the source in a coat that does."""
    if isinstance(source, SteppingSource):
        return cast("SteppingSource", source)
    return _WholeFrames(source)


class _WholeFrames:
    """Steps by reading whole frames."""

    frames_per_second = 0.0
    faults: Mapping[str, int] = MappingProxyType({})

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._frame: Frame | None = None
        self.name = source.name
        self.live = source.live
        self.open = source.open
        self.close = source.close

    def grab(self) -> bool:
        self._frame = self._source.read()
        return self._frame is not None

    def retrieve(self) -> Frame | None:
        frame, self._frame = self._frame, None
        return frame
