# SPDX-License-Identifier: Apache-2.0
"""Takes credentials out of addresses before anything else sees them. Standard library only."""

from __future__ import annotations

import re

MASK = "***"

# A password that nobody encoded may hold "@", "/", "?" or "#", which breaks the address: all up to the last "@" goes.
_USER_AND_PASSWORD = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s@]*:\S*@", re.IGNORECASE)
_USER = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    r"(?P<key>[?&;](?:[a-z0-9_.-]*(?:pass|pwd|secret|token|auth|key|sign|cred)[a-z0-9_.-]*|pw|sig|user(?:name)?|usr|login)=)"
    r"[^&;#\s]*",
    re.IGNORECASE,
)


def redact_url(text: str) -> str:
    """Hides user names, passwords and secret query parameters of every address in a text.

    What is left still names the camera: ``rtsp://***@10.0.0.5:554/stream?channel=1&token=***``.
    """
    text = _USER_AND_PASSWORD.sub(rf"\g<scheme>{MASK}@", text)
    text = _USER.sub(rf"\g<scheme>{MASK}@", text)
    return _SECRET_PARAMETER.sub(rf"\g<key>{MASK}", text)
