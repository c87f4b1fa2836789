# SPDX-License-Identifier: Apache-2.0
"""Starts, stops, kills and freezes a real RTSP server."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helmet_agent.adapters.camera import Camera
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.services.ingest import Ingest
from helmet_agent.source_url import SourceSettings
from helmet_agent.vision.letterbox import Letterbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEBIAN_PYTHON = "/usr/bin/python3"
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
_PROBE = """
import gi
for name in ("Gst", "GstRtsp", "GstRtspServer"):
    gi.require_version(name, "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
for name in ("videotestsrc", "x264enc", "rtph264pay", "qtdemux", "h264parse"):
    assert Gst.ElementFactory.find(name), name
"""


class RtspServer:
    """One server on one port, which it keeps over restarts."""

    def __init__(self, *options: str, password: str = "") -> None:
        self._options = options
        self._password = password
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/camera"

    def start(self) -> float:
        """The monotonic clock when it listened."""
        server = Path(__file__).with_name("server.py")
        self._process = subprocess.Popen(
            [DEBIAN_PYTHON, str(server), "--port", str(self.port), *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._process.stdin.write(self._password + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        up = time.monotonic()
        assert line.startswith("ready "), "the RTSP server did not start"
        self.port = int(line.split()[1])
        return up

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


@pytest.fixture(scope="session")
def gstreamer() -> None:
    found = Path(DEBIAN_PYTHON).exists() and subprocess.run(
        [DEBIAN_PYTHON, "-c", _PROBE], capture_output=True, check=False, timeout=60
    )
    if not found or found.returncode:
        pytest.skip(f"needs Debian's GStreamer RTSP server: apt-get install {PACKAGES}")


@pytest.fixture
def rtsp(gstreamer: None) -> Iterator[Callable[..., RtspServer]]:  # noqa: ARG001 - its absence skips
    started: list[RtspServer] = []

    def start(*options: str, password: str = "") -> RtspServer:
        server = RtspServer(*options, password=password)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def ingest_of() -> Iterator[Callable[..., Ingest]]:
    started: list[Ingest] = []
    letterbox = Letterbox(352, 640, 128)

    def start(*urls: str, **settings: object) -> Ingest:
        clock = SystemClock()
        every = [SourceSettings(f"camera {n}", url, **settings) for n, url in enumerate(urls)]
        ingest = Ingest([(Camera(each, clock), each) for each in every], letterbox.prepare, clock, lambda: 0.5)
        started.append(ingest)
        ingest.start()
        return ingest

    yield start
    for ingest in started:
        ingest.close()
