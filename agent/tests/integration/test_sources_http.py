# SPDX-License-Identifier: Apache-2.0
"""Network cameras that send JPEG pictures one after the other over HTTP, from a real server on the loopback."""

from __future__ import annotations

import base64
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from helmet_agent.adapters.camera import Camera
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.errors import SourceLost
from helmet_agent.source_url import SourceSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BOUNDARY = "picture"
PLANTED = "Zx9Planted@:/?#% Zx9"


class MjpegCamera(ThreadingHTTPServer):
    """Sends pictures until ``hang_up`` or ``fall_silent`` is set."""

    daemon_threads = True

    def __init__(self, password: str | None = None) -> None:
        self.password = password
        self.hang_up = threading.Event()
        self.fall_silent = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/video.mjpg"


class _Handler(BaseHTTPRequestHandler):
    server: MjpegCamera

    def do_GET(self) -> None:
        if self.path != "/video.mjpg":
            self.send_error(404)
            return
        if self.server.password is not None:
            expected = "Basic " + base64.b64encode(f"admin:{self.server.password}".encode()).decode()
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        number = 0
        while not self.server.hang_up.is_set():
            if not self.server.fall_silent.is_set():
                jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), number % 256, np.uint8))[1].tobytes()
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return
                number += 1
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def http_camera() -> Iterator[Callable[..., MjpegCamera]]:
    started: list[MjpegCamera] = []

    def start(password: str | None = None) -> MjpegCamera:
        server = MjpegCamera(password)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.hang_up.set()
        server.shutdown()
        server.server_close()


def camera(url: str, **settings: object) -> Camera:
    return Camera(SourceSettings("gate", url, **settings), SystemClock())


def read_on(source: Camera, seen: list[int]) -> None:
    while len(seen) < 1000:
        seen.append(source.read().seq)


def test_pictures_arrive(http_camera: Callable[..., MjpegCamera]) -> None:
    source = camera(http_camera().url)
    source.open()
    frames = [source.read() for _ in range(10)]
    source.close()
    assert [frame.seq for frame in frames] == list(range(10))
    assert all(frame.image.shape == (48, 64, 3) for frame in frames)
    brightness = [int(frame.image.mean()) for frame in frames]
    assert brightness == sorted(brightness)


def test_one_that_hangs_up_is_lost_and_opens_again(http_camera: Callable[..., MjpegCamera]) -> None:
    server = http_camera()
    source = camera(server.url)
    source.open()
    seen = [source.read().seq]
    server.hang_up.set()
    with pytest.raises(SourceLost, match="stopped sending"):
        read_on(source, seen)
    server.hang_up.clear()
    source.open()
    assert source.read().seq == seen[-1] + 1  # numbers go on
    source.close()


def test_one_that_falls_silent_is_lost_after_the_time_out(http_camera: Callable[..., MjpegCamera]) -> None:
    server = http_camera()
    source = camera(server.url, read_timeout_seconds=1.0)
    source.open()
    source.read()
    server.fall_silent.set()
    started = time.monotonic()
    with pytest.raises(SourceLost, match="stopped sending"):
        read_on(source, [])
    assert 0.8 < time.monotonic() - started < 10


def test_closing_wakes_a_reader_that_waits(http_camera: Callable[..., MjpegCamera]) -> None:
    server = http_camera()
    source = camera(server.url, read_timeout_seconds=5.0)
    source.open()
    server.fall_silent.set()
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            read_on(source, [])
        except SourceLost as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    started = time.monotonic()
    source.close()
    reader.join(10)
    assert len(outcome) == 1
    assert time.monotonic() - started < 2


def test_credentials_of_any_characters(http_camera: Callable[..., MjpegCamera], tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"admin:{PLANTED}")
    file.chmod(0o600)
    source = camera(http_camera(PLANTED).url, credentials_file=file)
    source.open()
    assert source.read().image.shape == (48, 64, 3)
    source.close()


def test_wrong_credentials_and_wrong_paths_are_told_apart(
    http_camera: Callable[..., MjpegCamera], tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"admin:{PLANTED}")
    file.chmod(0o600)
    server = http_camera("another")
    with pytest.raises(SourceLost, match="refused the user name or password") as error:
        camera(server.url, credentials_file=file).open()
    assert "Zx9Planted" not in str(error.value)
    with pytest.raises(SourceLost, match="asks for a user name and password"):
        camera(server.url).open()
    with pytest.raises(SourceLost, match="knows no such path"):
        camera(server.url + "x").open()


def test_a_page_that_is_no_video(http_camera: Callable[..., MjpegCamera]) -> None:
    server = http_camera()
    server.hang_up.set()  # the answer begins and holds no picture
    with pytest.raises(SourceLost, match="sent no video"):
        camera(server.url, open_timeout_seconds=2.0).open()
