# SPDX-License-Identifier: Apache-2.0
"""What a source's address means: a clip, pictures, a network camera or a device. Standard library only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from helmet_agent.errors import SourceMissing
from helmet_agent.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
NETWORK_SCHEMES = ("rtsp", "rtsps", "http", "https")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_DEVICE_NUMBER = re.compile(r"(?:/dev/video)?(?P<number>[0-9]{1,3})\Z")
_DEVICE_LINK = "/dev/v4l/"  # names that stay the same when the numbers change: /dev/v4l/by-id/...


class SourceKind(Enum):
    """Which adapter reads an address."""

    CLIP = "clip"
    PICTURES = "pictures"
    NETWORK = "network"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, repr=False)
class SourceSettings:
    """How one source is read.

    Attributes:
        name: what the source is called in events, metrics and logs.
        url: file, folder, ``rtsp://``/``http://`` address, ``/dev/videoN``, ``/dev/v4l/...`` or a device number.
        loop: begin again at the end of a file or folder.
        realtime: play a clip at its own frame rate and treat it as a camera: late frames are dropped.
        every_nth: take every n-th frame, at least 1.
        max_fps: take at most so many frames a second; 0 takes all. Clips count in their own time, cameras in ours.
        credentials_file: file holding ``user:password`` for a network camera.
        open_timeout_seconds: how long a camera may take to open.
        read_timeout_seconds: how long a camera may take for one frame.
        stall_seconds: a camera without a frame for so long is closed and opened again.
    """

    name: str
    url: str
    loop: bool = False
    realtime: bool = False
    every_nth: int = 1
    max_fps: float = 0.0
    credentials_file: Path | None = None
    open_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 5.0
    stall_seconds: float = 3.0

    @property
    def display_name(self) -> str:
        """The name, free of credentials even when an address was used as a name."""
        return redact_url(self.name)

    @property
    def display_url(self) -> str:
        """The address, free of credentials."""
        return redact_url(self.url)

    def __repr__(self) -> str:
        return f"SourceSettings(name={self.display_name!r}, url={self.display_url!r})"


@dataclass(frozen=True, slots=True, repr=False)
class SourceAddress:
    """An address, understood.

    Attributes:
        kind: which adapter reads it.
        location: path of a file or folder, the full address of a network camera, the device file of a device.
    """

    kind: SourceKind
    location: str

    def __repr__(self) -> str:
        return f"SourceAddress({self.kind.name}, {redact_url(self.location)!r})"


def classify(url: str, is_folder: Callable[[str], bool] = os.path.isdir) -> SourceAddress:
    """Says what an address means. Only whether a path is a folder is looked up; nothing is opened.

    ``file:`` addresses are read as OpenCV (FFmpeg's file protocol) reads them: all that follows ``file:`` is the path,
    so ``file://video/video.mp4`` is ``/video/video.mp4``, and percent signs are plain characters.

    Raises:
        SourceMissing: empty, or a scheme that is not supported.
    """
    if not url.strip():
        raise SourceMissing("a source needs an address: a file, a folder, rtsp://..., http://... or /dev/videoN")
    if device := _DEVICE_NUMBER.match(url):
        return SourceAddress(SourceKind.DEVICE, f"/dev/video{int(device['number'])}")
    if url.startswith(_DEVICE_LINK):
        return SourceAddress(SourceKind.DEVICE, url)
    if url.lower().startswith("file:"):
        path = url[len("file:") :]
        path = "/" + path.lstrip("/") if path.startswith("/") else path
        return _classify_path(path, is_folder)
    if found := _SCHEME.match(url):
        if found["scheme"].lower() not in NETWORK_SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in (*NETWORK_SCHEMES, "file"))
            raise SourceMissing(f"{redact_url(url)}: unknown kind of address {found['scheme']}://; known are {known}")
        return SourceAddress(SourceKind.NETWORK, url)
    return _classify_path(url, is_folder)


def _classify_path(path: str, is_folder: Callable[[str], bool]) -> SourceAddress:
    if path.lower().endswith(PICTURE_SUFFIXES) or is_folder(path):
        return SourceAddress(SourceKind.PICTURES, path)
    return SourceAddress(SourceKind.CLIP, path)
