# SPDX-License-Identifier: Apache-2.0
"""Cameras: RTSP and HTTP addresses through FFmpeg, local devices through V4L2."""

from __future__ import annotations

import os
import re
import socket
import stat
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

import cv2
import structlog

from helmet_agent.credentials import Credentials, exposed, read_credentials, with_credentials
from helmet_agent.errors import SourceLost
from helmet_agent.ports import Frame
from helmet_agent.redaction import redact_url
from helmet_agent.source_url import SourceKind, classify
from helmet_agent.walkaway import Hung, WalkawayThread, WalkedAway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from helmet_agent.ports import BgrImage, Clock
    from helmet_agent.source_url import SourceSettings

# FFmpeg writes addresses, credentials included, to standard error; it is silenced for good before its first use.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# TCP: lost UDP packets are grey smears that look like hard examples. The rest keeps FFmpeg from watching a stream for
# seconds before it hands out the first frame: a slow camera (2 frames a second) would never open in time.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp|fpsprobesize;0|analyzeduration;1000000")

T = TypeVar("T")

_DECODE_THREADS = 1  # every further one keeps frames back, and they grow old
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
# A switched-off camera swallows packets: no try may take so long that its return goes unnoticed for seconds.
_REACH_SECONDS = 1.5
_ASK_SECONDS = 1.0
_GRACE_SECONDS = 1.0  # FFmpeg's own time-outs come first
_log = structlog.get_logger(__name__)
_STATUS = re.compile(rb"(?:RTSP|HTTP)/\S+ (\d{3})")
_REFUSALS = (401, 403)
_UNKNOWN_PATHS = (404, 454)


class Camera:
    """A camera behind an address or at a device; see the port ``FrameSource`` for who may call what.

    OpenCV runs on a thread of its own that is walked away from when it hangs, so that ``close`` takes effect at once.
    ``Frame.seq`` goes on after a reconnect.

    Implements ``FrameSource``, and ``grab``/``retrieve`` for readers that pass over frames.
    """

    live = True
    frames_per_second = 0.0
    faults: Mapping[str, int] = MappingProxyType({})

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._address = classify(settings.url)
        self._connection: _Connection | None = None
        self._seq = 0
        self._warned = False
        self._stamp = (0.0, 0.0)

    @property
    def name(self) -> str:
        """The configured name, free of credentials."""
        return self._settings.display_name

    def open(self) -> None:
        """Connects.

        Raises:
            SourceLost: there is no video within the time-out; the message says how far it got.
        """
        self.close()
        connect = self._device if self._address.kind is SourceKind.DEVICE else self._stream
        connection = _Connection(f"camera {self.name}")
        self._connection = connection
        try:
            connect(connection)
        except SourceLost:
            connection.leave()
            raise
        except WalkedAway:
            raise self._lost("was closed while it opened") from None
        except Hung:
            connection.leave()
            raise self._lost("did not open in time; check the camera and its network") from None

    def grab(self) -> bool:
        """Waits for the next frame without converting its pixels; always True.

        Raises:
            SourceLost: none came within the time-out, the camera hung up, or ``close`` was called.
        """
        found = self._ask(lambda video: video.grab())
        if not found:
            raise self._lost("stopped sending; check the camera and its network")
        self._stamp = (self._clock.now(), self._clock.monotonic())
        self._seq += 1
        return True

    def retrieve(self) -> Frame:
        """The frame that was stepped to, in memory of its own.

        Raises:
            SourceLost: its pixels cannot be had, or ``close`` was called.
        """
        found, image = self._ask(lambda video: video.retrieve()) or (False, None)
        if not found or image is None:
            raise self._lost("sent a frame that cannot be decoded")
        return Frame(self.name, self._seq - 1, *self._stamp, cast("BgrImage", image))

    def read(self) -> Frame:
        """The next frame; see ``grab`` and ``retrieve``."""
        self.grab()
        return self.retrieve()

    def close(self) -> None:
        """Hangs up; at once, whatever the camera does. A blocked ``open``, ``grab`` or ``read`` raises."""
        connection = self._connection
        if connection is not None:
            connection.leave()

    def _ask(self, function: Callable[[cv2.VideoCapture], T]) -> T | None:
        connection = self._connection
        if connection is None:
            return None
        try:
            return connection.ask(function, self._settings.read_timeout_seconds + _GRACE_SECONDS)
        except (Hung, WalkedAway):
            connection.leave()
            return None

    def _lost(self, what: str) -> SourceLost:
        return SourceLost(f"{self.name}: {self._settings.display_url} {what}")

    def _stream(self, connection: _Connection) -> None:
        settings = self._settings
        place = _place(settings.url, self.name)
        patience = settings.open_timeout_seconds + _GRACE_SECONDS
        reach = min(_REACH_SECONDS, settings.open_timeout_seconds)
        if (trouble := connection.run(lambda: _unreachable(place, reach), patience)) is not None:
            raise SourceLost(f"{self.name}: {trouble}")
        credentials = self._credentials()
        url = with_credentials(settings.url, credentials)
        parameters = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(settings.open_timeout_seconds * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(settings.read_timeout_seconds * 1000)),
            *(cv2.CAP_PROP_N_THREADS, _DECODE_THREADS),
        ]
        if not connection.open(lambda: cv2.VideoCapture(url, cv2.CAP_FFMPEG, parameters), patience):
            status = connection.run(lambda: _status(place), patience)
            raise self._lost(_no_video(status, has_credentials=bool(credentials or place.username)))

    def _credentials(self) -> Credentials | None:
        path = self._settings.credentials_file
        if path is None:
            return None
        if not self._warned and exposed(path):
            self._warned = True
            _log.warning("others may read this credentials file; chmod 600 it", source=self.name, path=str(path))
        return read_credentials(path)

    def _device(self, connection: _Connection) -> None:
        path = self._address.location
        try:
            is_device = stat.S_ISCHR(os.stat(path).st_mode)  # noqa: PTH116 - follows links, as the driver does
        except OSError:
            raise SourceLost(
                f"{self.name}: no device {path}; plugged in? `ls /dev/video*` shows what is there"
            ) from None
        if not is_device:
            raise SourceLost(f"{self.name}: {path} is no device")
        if not os.access(path, os.R_OK | os.W_OK):
            raise SourceLost(f"{self.name}: no permission for {path}; put the agent's user into the group `video`")
        node = os.path.realpath(path)  # of /dev/v4l/by-id/...
        patience = self._settings.open_timeout_seconds + _GRACE_SECONDS
        if not connection.open(lambda: cv2.VideoCapture(node, cv2.CAP_V4L2), patience):
            raise SourceLost(
                f"{self.name}: {path} gives no video; another program may hold it, or the camera has another node"
            )


class _Connection:
    """One capture of OpenCV, touched by its own thread only."""

    def __init__(self, name: str) -> None:
        self._video: cv2.VideoCapture | None = None
        self._thread = WalkawayThread(name, self._release)

    def run(self, function: Callable[[], T], timeout_seconds: float) -> T:
        """Calls a function on the connection's thread.

        Raises:
            Hung: it did not return in time. WalkedAway: somebody left meanwhile.
        """
        return self._thread.call(function, timeout_seconds)

    def open(self, make: Callable[[], cv2.VideoCapture], timeout_seconds: float) -> bool:
        """Makes the capture; whether it has video. Raises as ``run``."""

        def make_here() -> bool:
            try:
                self._video = make()
                # FFmpeg knows no such buffer and says so; drivers keep one frame instead of four that grow old.
                self._video.set(cv2.CAP_PROP_BUFFERSIZE, 1)
                return self._video.isOpened()
            except cv2.error:  # its message may hold the address and its credentials
                return False

        return self.run(make_here, timeout_seconds)

    def ask(self, function: Callable[[cv2.VideoCapture], T], timeout_seconds: float) -> T | None:
        """Calls a function with the capture; None where it fails. Raises as ``run``."""

        def ask_here() -> T | None:
            try:
                return None if self._video is None else function(self._video)
            except cv2.error:  # as above
                return None

        return self.run(ask_here, timeout_seconds)

    def leave(self) -> None:
        """Gives the capture up; returns at once."""
        self._thread.leave()

    def _release(self) -> None:
        if self._video is not None:
            self._video.release()
            self._video = None


def _place(url: str, name: str) -> SplitResult:
    try:
        place = urlsplit(url)
        usable = bool(place.hostname) and place.port != 0  # both raise for what cannot be right
    except ValueError:
        usable = False
    if not usable:
        raise SourceLost(f"{name}: {redact_url(url)} is not a complete address; expected rtsp://host:port/path")
    return place


def _connect(place: SplitResult, timeout_seconds: float) -> socket.socket:
    return socket.create_connection((place.hostname or "", place.port or _PORTS[place.scheme]), timeout_seconds)


def _unreachable(place: SplitResult, timeout_seconds: float) -> str | None:
    """Why nobody answers there, or None when somebody does. Quicker to say so than FFmpeg, and it says why."""
    where = f"{place.hostname}:{place.port or _PORTS[place.scheme]}"
    try:
        _connect(place, timeout_seconds).close()
    except TimeoutError:
        return f"{where} does not answer; check address, power and network"
    except ConnectionRefusedError:
        return f"nothing listens at {where}; check the port, or whether the camera has started"
    except socket.gaierror:
        return f"the host name {place.hostname} is not known; check the address"
    except OSError as error:
        return f"{where} cannot be reached ({error.strerror or error}); check address and network"
    return None


def _no_video(status: int | None, *, has_credentials: bool) -> str:
    """What went wrong after the connection stood."""
    if status in _REFUSALS:
        return (
            "refused the user name or password, or the path; check the credentials file"
            if has_credentials
            else "asks for a user name and password; name a credentials_file"
        )
    if status in _UNKNOWN_PATHS:
        return "knows no such path; check the part of the address after the host"
    if status is None:
        return "accepts connections but does not answer; restart the camera"
    return f"answers (status {status}) but sent no video that can be read in time"


def _status(place: SplitResult) -> int | None:
    """The status code of a plain question for the stream; None without an answer. Never sends credentials."""
    if place.scheme in ("rtsps", "https"):
        return 0  # nothing but video is asked over an encrypted connection
    host = place.netloc.rpartition("@")[2]
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    question = (
        f"DESCRIBE rtsp://{host}{path} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
        if place.scheme == "rtsp"
        else f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n"
    )
    try:
        with _connect(place, _ASK_SECONDS) as connection:
            connection.settimeout(_ASK_SECONDS)
            connection.sendall(question.encode())
            found = _STATUS.match(connection.recv(256))
    except OSError:
        return None
    return int(found[1]) if found else 0
