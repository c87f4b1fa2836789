# SPDX-License-Identifier: Apache-2.0
"""Picture files: one, or a folder of them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import structlog

from helmet_agent.errors import SourceMissing
from helmet_agent.ports import Frame
from helmet_agent.source_url import PICTURE_SUFFIXES, classify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from helmet_agent.ports import BgrImage, Clock
    from helmet_agent.source_url import SourceSettings

# A picture that cannot be decoded is named in one line of ours.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_log = structlog.get_logger(__name__)


class Pictures:
    """One picture, or all pictures of a folder in the order of their names; folders inside are not entered.

    ``Frame.source`` is the path of the picture itself and ``Frame.seq`` its place in the sorted folder, unreadable ones
    counted; with ``loop`` the numbers go on. A picture in a folder that cannot be read is named in a warning, counted
    and passed over.

    Implements ``FrameSource``, and ``grab``/``retrieve`` for readers that pass over frames.
    """

    live = False
    frames_per_second = 0.0  # pictures have no time of their own

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._given = Path(classify(settings.url).location)
        self._paths: list[Path] = []
        self._is_folder = False
        self._step = -1
        self._read_this_round = 0
        self._closed = threading.Event()
        self._unreadable = 0

    @property
    def name(self) -> str:
        """The configured name."""
        return self._settings.display_name

    @property
    def faults(self) -> Mapping[str, int]:
        """``unreadable``: how many pictures were passed over."""
        return {"unreadable": self._unreadable} if self._unreadable else {}

    def open(self) -> None:
        """Lists the folder.

        Raises:
            SourceMissing: it is not there, or holds no pictures.
        """
        self._closed.clear()
        self._step = -1
        self._is_folder = self._given.is_dir()
        if not self._is_folder:
            if not self._given.exists():
                raise SourceMissing(f"{self._given}: no such file; check the path")
            self._paths = [self._given]
            return
        try:
            found = [path for path in self._given.iterdir() if _is_picture(path)]
        except OSError as error:
            raise SourceMissing(f"{self._given}: cannot be read ({error.strerror}); check its permissions") from None
        if not found:
            known = ", ".join(suffix[1:] for suffix in PICTURE_SUFFIXES)
            raise SourceMissing(f"{self._given}: holds no pictures ({known}); folders inside are not entered")
        self._paths = sorted(found, key=lambda path: path.name)

    def grab(self) -> bool:
        """Steps to the next picture without reading it; False at the end.

        Raises:
            SourceMissing: none of the folder's pictures could be read.
        """
        if self._closed.is_set() or not self._paths:
            return False
        step = self._step + 1
        if step and step % len(self._paths) == 0:
            if self._read_this_round == 0 and self._unreadable >= len(self._paths):
                raise SourceMissing(f"{self._given}: none of its {len(self._paths)} pictures can be read")
            self._read_this_round = 0
            if not self._settings.loop:
                return False
        self._step = step
        return True

    def retrieve(self) -> Frame | None:
        """The picture that was stepped to; None when it is one of a folder and cannot be read.

        Raises:
            SourceMissing: the one picture that was asked for cannot be read.
        """
        path = self._paths[self._step % len(self._paths)]
        image, reason = _load(path)
        if image is None:
            if not self._is_folder:
                raise SourceMissing(f"{path}: {reason}; check the file")
            self._unreadable += 1
            _log.warning("picture left out", path=str(path), reason=reason)
            return None
        self._read_this_round += 1
        return Frame(str(path), self._step, self._clock.now(), self._clock.monotonic(), image)

    def read(self) -> Frame | None:
        """The next picture that can be read, or None at the end."""
        while self.grab():
            if (frame := self.retrieve()) is not None:
                return frame
        return None

    def close(self) -> None:
        """Ends the reading."""
        self._closed.set()


def _is_picture(path: Path) -> bool:
    # Names with a leading dot are the droppings of other programs, such as macOS's "._name.jpg".
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _load(path: Path) -> tuple[BgrImage | None, str]:
    """The picture, or None and why not."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    if not data:
        return None, "the file is empty"
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        return None, "not a picture that can be decoded, or cut off"
    return cast("BgrImage", image), ""
