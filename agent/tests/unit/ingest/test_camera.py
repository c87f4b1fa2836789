# SPDX-License-Identifier: Apache-2.0
"""Cameras that are not there: one clear line each, within the time-out. Streams are tested against real servers."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from helmet_agent.adapters.camera import Camera
from helmet_agent.errors import SourceLost
from helmet_agent.source_url import SourceSettings
from helmet_agent.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLANTED = "Zx9PlantedZx9"


def camera(url: str, **settings: object) -> Camera:
    return Camera(SourceSettings("gate", url, **settings), ManualClock())


def refusal(source: Camera) -> str:
    with pytest.raises(SourceLost) as error:
        source.open()
    line = str(error.value)
    assert line.startswith("gate: ")
    assert "\n" not in line
    assert PLANTED not in line
    return line


@pytest.mark.parametrize("url", ["/dev/video217", "217"])
def test_a_missing_device(url: str) -> None:
    assert "no device /dev/video217" in refusal(camera(url))


@pytest.mark.parametrize(
    "url", ["rtsp:///stream", f"rtsp://a:{PLANTED}@:554/s", f"rtsp://a:{PLANTED}@cam:port/s", "rtsp://[::1/s"]
)
def test_an_address_that_cannot_be_right(url: str) -> None:
    assert "not a complete address" in refusal(camera(url))


def test_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert f"nothing listens at 127.0.0.1:{port}" in refusal(camera(f"rtsp://a:{PLANTED}@127.0.0.1:{port}/s"))


def test_a_host_name_that_is_not_known() -> None:
    assert "is not known" in refusal(camera(f"rtsp://a:{PLANTED}@no-such-camera.invalid/s"))


def test_a_missing_credentials_file(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = camera(f"rtsp://127.0.0.1:{port}/s", credentials_file=tmp_path / "nothing")
        with pytest.raises(SourceLost, match=r"credentials file .*nothing"):
            source.open()


def test_a_camera_that_accepts_and_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://a:{PLANTED}@127.0.0.1:{server.getsockname()[1]}/s"
        started = time.monotonic()
        line = refusal(camera(url, open_timeout_seconds=1.0, read_timeout_seconds=1.0))
        assert "accepts connections but does not answer" in line
        assert 0.9 < time.monotonic() - started < 8


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port whose connections are neither taken nor refused, as of a camera that is switched off."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        time.sleep(0.1)
        yield port
        for filler in fillers:
            filler.close()


def test_a_camera_that_swallows_packets_is_given_up_quickly(black_hole: int) -> None:
    started = time.monotonic()
    line = refusal(camera(f"rtsp://a:{PLANTED}@127.0.0.1:{black_hole}/s", open_timeout_seconds=30.0))
    assert f"127.0.0.1:{black_hole} does not answer" in line
    assert time.monotonic() - started < 10  # 1.5 s promised, far from the 30 s of the decoder


def test_closing_wakes_whoever_opens(black_hole: int) -> None:
    source = camera(f"rtsp://a:{PLANTED}@127.0.0.1:{black_hole}/s", open_timeout_seconds=30.0)
    outcome: list[str] = []
    opener = threading.Thread(target=lambda: outcome.append(refusal(source)))
    opener.start()
    time.sleep(0.3)
    started = time.monotonic()
    source.close()
    opener.join(10)
    assert time.monotonic() - started < 1
    assert "was closed while it opened" in outcome[0]


def test_a_device_link_that_leads_nowhere() -> None:
    assert "no device" in refusal(camera("/dev/v4l/by-id/usb-none"))


def test_an_exposed_credentials_file_is_told_of_once(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"admin:{PLANTED}")
    file.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as server, capture_logs() as logs:
        source = camera(
            f"http://127.0.0.1:{server.getsockname()[1]}/s", credentials_file=file, open_timeout_seconds=0.3
        )
        for _ in range(2):
            refusal(source)
    assert [entry["path"] for entry in logs] == [str(file)]
    assert PLANTED not in str(logs)


def test_reading_a_camera_that_is_not_open_is_a_loss() -> None:
    with pytest.raises(SourceLost):
        camera("rtsp://127.0.0.1:1/s").read()


def test_closing_one_that_never_opened_does_nothing() -> None:
    source = camera("rtsp://127.0.0.1:1/s")
    source.close()
    source.close()


def test_a_camera_is_live_and_its_name_shows_no_password() -> None:
    source = Camera(SourceSettings(f"rtsp://a:{PLANTED}@cam/s", f"rtsp://a:{PLANTED}@cam/s"), ManualClock())
    assert source.live
    assert source.name == "rtsp://***@cam/s"
    assert PLANTED not in repr(source)
