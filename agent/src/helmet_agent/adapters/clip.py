# SPDX-License-Identifier: Apache-2.0
"""Video files."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import structlog

from helmet_agent.errors import SourceMissing
from helmet_agent.ports import Frame
from helmet_agent.source_url import classify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from helmet_agent.ports import BgrImage, Clock
    from helmet_agent.source_url import SourceSettings

# FFmpeg writes its own lines to standard error, one for every damaged macroblock row; ours say what matters.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

# One thread decodes 1080p several times faster than real time and leaves the other cores to inference.
_DECODE_THREADS = 1
_SLEEP_SLICE_SECONDS = 0.2
_RESYNC_SECONDS = 1.0
_CLOSE_WAIT_SECONDS = 0.2

_log = structlog.get_logger(__name__)


class Clip:
    """A video file, read to its very last frame or again and again.

    With ``realtime`` it plays at its own frame rate and counts as live: a camera made of a file.

    Implements ``FrameSource``, and ``grab``/``retrieve`` for readers that pass over frames.
    """

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._path = Path(classify(settings.url).location)
        self._capture: cv2.VideoCapture | None = None
        self._lock = threading.Lock()  # OpenCV's captures must not be released while another thread reads them
        self._closed = threading.Event()
        self._seq = 0
        self._frames_this_pass = 0
        self._promised = 0
        self._exact_count = False
        self._frames_per_second = 0.0
        self._started_seconds = 0.0
        self._stamp = (0.0, 0.0)
        self._faults: dict[str, int] = {}

    @property
    def name(self) -> str:
        """The configured name."""
        return self._settings.display_name

    @property
    def live(self) -> bool:
        """Only when it plays in real time."""
        return self._settings.realtime

    @property
    def frames_per_second(self) -> float:
        """The rate its header gives; 0.0 until opened or if it gives none."""
        return self._frames_per_second

    @property
    def faults(self) -> Mapping[str, int]:
        """``truncated``: how often the file ended before the last frame that its header promises."""
        return dict(self._faults)

    def open(self) -> None:
        """Opens the file.

        Raises:
            SourceMissing: it is not there, is empty, or is no video.
        """
        self._closed.clear()
        self._begin()

    def grab(self) -> bool:
        """Steps to the next frame without converting its pixels; False at the end.

        Raises:
            SourceMissing: the file holds no frame at all.
        """
        while not self._closed.is_set():
            with self._lock:
                if self._capture is None:
                    return False
                found = self._capture.grab()
            if found:
                return self._count()
            self._note_the_end()
            self._release()
            if not self._settings.loop:
                return False
            self._begin()
        return False

    def retrieve(self) -> Frame | None:
        """The frame that was stepped to, in memory of its own; None once closed.

        Raises:
            SourceMissing: its pixels cannot be had.
        """
        with self._lock:
            if self._capture is None:
                return None
            found, image = self._capture.retrieve()
        if not found or image is None:
            raise SourceMissing(f"{self._path}: frame {self._seq - 1} cannot be decoded; check the file")
        return Frame(self.name, self._seq - 1, *self._stamp, cast("BgrImage", image))

    def read(self) -> Frame | None:
        """The next frame, or None at the end."""
        return self.retrieve() if self.grab() else None

    def close(self) -> None:
        """Lets go of the file; a read in another thread ends first."""
        self._closed.set()
        self._release()

    def _begin(self) -> None:
        self._check()
        capture = cv2.VideoCapture(
            str(self._path.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, _DECODE_THREADS]
        )
        if not capture.isOpened():
            raise SourceMissing(
                f"{self._path}: not a video that can be read, or cut off before its index; check the file"
            )
        self._promised = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        rate = capture.get(cv2.CAP_PROP_FPS)
        self._frames_per_second = rate if 0 < rate < 1000 else 0.0  # noqa: PLR2004 - a time base, not a frame rate
        self._frames_this_pass = 0
        with self._lock:
            self._capture = capture
        if self._closed.is_set():  # while it opened
            self._release()

    def _check(self) -> None:
        try:
            if self._path.is_dir():
                raise SourceMissing(f"{self._path}: is a folder; name a video file, or a folder that holds pictures")
            with self._path.open("rb") as file:
                head = file.read(12)
        except FileNotFoundError:
            raise SourceMissing(f"{self._path}: no such file; check the path") from None
        except OSError as error:
            raise SourceMissing(f"{self._path}: cannot be read ({error.strerror}); check its permissions") from None
        if not head:
            raise SourceMissing(f"{self._path}: the file is empty; copy it again")
        # MP4 and MOV count their frames in an index; elsewhere OpenCV estimates from the duration.
        self._exact_count = head[4:8] == b"ftyp"

    def _count(self) -> bool:
        if self._settings.realtime and not self._wait_for_its_moment():
            return False
        self._stamp = (self._clock.now(), self._clock.monotonic())
        self._seq += 1
        self._frames_this_pass += 1
        return True

    def _wait_for_its_moment(self) -> bool:
        period = 1.0 / (self._frames_per_second or 25.0)
        now = self._clock.monotonic()
        due = self._started_seconds + self._seq * period
        if self._seq == 0 or now - due > _RESYNC_SECONDS:
            self._started_seconds = now - self._seq * period
            return True
        while (rest := due - self._clock.monotonic()) > 0 and not self._closed.is_set():
            self._clock.sleep(min(rest, _SLEEP_SLICE_SECONDS))
        return not self._closed.is_set()

    def _note_the_end(self) -> None:
        if self._frames_this_pass == 0:
            raise SourceMissing(f"{self._path}: holds no frame that can be decoded; check the file")
        missing = self._promised - self._frames_this_pass
        tolerated = 0 if self._exact_count else 2 + self._promised // 100
        if missing > tolerated:
            self._faults["truncated"] = self._faults.get("truncated", 0) + 1
            _log.warning(
                "the file ended before the last frame its header promises: cut off, damaged or trimmed",
                path=str(self._path),
                frames=self._frames_this_pass,
                promised=self._promised,
            )

    def _release(self) -> None:
        # A file system that hangs holds the lock; the reader then lets go when it comes back.
        if self._lock.acquire(timeout=_CLOSE_WAIT_SECONDS):
            try:
                capture, self._capture = self._capture, None
                if capture is not None:
                    capture.release()
            finally:
                self._lock.release()
