# SPDX-License-Identifier: Apache-2.0
"""Addresses mean what the page of sources says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.errors import SourceMissing
from helmet_agent.source_url import SourceAddress, SourceKind, SourceSettings, classify

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "kind", "location"),
    [
        ("clip.mp4", SourceKind.CLIP, "clip.mp4"),
        ("no suffix", SourceKind.CLIP, "no suffix"),
        ("file://video/video.mp4", SourceKind.CLIP, "/video/video.mp4"),
        ("file:///abs/video.mp4", SourceKind.CLIP, "/abs/video.mp4"),
        ("file:video.mp4", SourceKind.CLIP, "video.mp4"),
        ("FILE:///a%20b.mp4", SourceKind.CLIP, "/a%20b.mp4"),
        ("a/picture.JPEG", SourceKind.PICTURES, "a/picture.JPEG"),
        ("file:///a/picture.png", SourceKind.PICTURES, "/a/picture.png"),
        ("rtsp://cam/s", SourceKind.NETWORK, "rtsp://cam/s"),
        ("RTSPS://cam/s", SourceKind.NETWORK, "RTSPS://cam/s"),
        ("http://cam/v.mjpg", SourceKind.NETWORK, "http://cam/v.mjpg"),
        ("https://cam/picture.jpg", SourceKind.NETWORK, "https://cam/picture.jpg"),
        ("/dev/video2", SourceKind.DEVICE, "/dev/video2"),
        ("/dev/v4l/by-id/usb-cam-index0", SourceKind.DEVICE, "/dev/v4l/by-id/usb-cam-index0"),
        ("0", SourceKind.DEVICE, "/dev/video0"),
        ("07", SourceKind.DEVICE, "/dev/video7"),
    ],
)
def test_addresses(url: str, kind: SourceKind, location: str) -> None:
    assert classify(url, lambda _: False) == SourceAddress(kind, location)


def test_a_folder_holds_pictures(tmp_path: Path) -> None:
    assert classify(str(tmp_path)).kind is SourceKind.PICTURES
    assert classify(f"file://{tmp_path}") == SourceAddress(SourceKind.PICTURES, str(tmp_path))


@pytest.mark.parametrize("url", ["", "  ", "ftp://a:Zx9Planted@host/v.mp4", "rstp://host/s"])
def test_what_cannot_be_read_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(SourceMissing) as refusal:
        classify(url)
    assert "\n" not in str(refusal.value)
    assert "rtsp" in str(refusal.value)
    assert "Zx9Planted" not in str(refusal.value)


@given(st.text(max_size=60))
def test_every_text_is_either_understood_or_refused(url: str) -> None:
    try:
        address = classify(url, lambda _: False)
    except SourceMissing:
        return
    assert address.location


def test_settings_never_show_credentials() -> None:
    settings = SourceSettings(name="rtsp://a:Zx9Planted@cam/s", url="rtsp://a:Zx9Planted@cam/s")
    shown = [repr(settings), str(settings), settings.display_name, settings.display_url, repr(classify(settings.url))]
    assert not any("Zx9Planted" in text for text in shown)
