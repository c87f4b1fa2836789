# SPDX-License-Identifier: Apache-2.0
"""A password never survives redaction, wherever it stands in an address."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.redaction import redact_url

PLANTED = "Zx9PlantedZx9"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"rtsp://admin:{PLANTED}@10.0.0.5:554/s?channel=1", "rtsp://***@10.0.0.5:554/s?channel=1"),
        (f"rtsp://{PLANTED}@cam/s", "rtsp://***@cam/s"),
        (f"RTSP://a:{PLANTED}@cam/s", "RTSP://***@cam/s"),
        (f"rtsp://a:p@{PLANTED}@cam/s", "rtsp://***@cam/s"),
        (f"rtsp://a:p/{PLANTED}@cam/s", "rtsp://***@cam/s"),
        (f"rtsp://a:p#{PLANTED}?@cam/s", "rtsp://***@cam/s"),
        (f"http://cam/v.cgi?user=x&pwd={PLANTED}&size=2", "http://cam/v.cgi?user=***&pwd=***&size=2"),
        (f"http://cam/v?access_token={PLANTED}", "http://cam/v?access_token=***"),
        (
            f"cannot open rtsp://a:{PLANTED}@one/s and http://b:{PLANTED}@two/",
            "cannot open rtsp://***@one/s and http://***@two/",
        ),
    ],
)
def test_credentials_are_hidden_and_the_rest_is_kept(address: str, shown: str) -> None:
    assert redact_url(address) == shown


@pytest.mark.parametrize("text", ["rtsp://10.0.0.5:554/stream", "/video/a@b.mp4", "file://video/video.mp4", "gate", ""])
def test_what_holds_no_credentials_is_left_alone(text: str) -> None:
    assert redact_url(text) == text


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Z"]), max_size=20))
def test_no_encoded_password_survives(password: str) -> None:
    address = f"rtsp://admin:{quote(PLANTED + password, safe='')}@cam:554/stream"
    assert redact_url(address) == "rtsp://***@cam:554/stream"


@given(st.text(string.ascii_letters + string.digits + "/?#:@!$&'()*+,;=%-._~", max_size=20))
def test_no_raw_password_survives(password: str) -> None:
    assert PLANTED not in redact_url(f"x rtsp://admin:{password}{PLANTED}@cam/stream y")


@given(st.text(max_size=80))
def test_redacting_twice_changes_nothing(text: str) -> None:
    assert redact_url(redact_url(text)) == redact_url(text)
