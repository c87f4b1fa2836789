# SPDX-License-Identifier: Apache-2.0
"""Takes credentials out of addresses before anything else sees them. Standard library only."""

from __future__ import annotations

import re

MASK = "***"

# The user part of an address ends at the last "@" before the path: passwords may hold "@" when nobody encoded them.
_USER_PART = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)
# A password that holds "/", "?" or "#" breaks the address; what stands before the last "@" is hidden all the same.
_BROKEN_USER_PART = re.compile(r"(?P<scheme>\b(?:rtsps?|https?)://)[^\s@]*:[^\s]*@", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    r"(?P<key>[?&;](?:[a-z0-9_.-]*(?:pass|pwd|secret|token|auth|key|sign|cred)[a-z0-9_.-]*|pw|sig|user(?:name)?|usr|login)=)"
    r"[^&;#\s]*",
    re.IGNORECASE,
)


def redact_url(text: str) -> str:
    """Hides user names, passwords and secret query parameters of every address in a text.

    What is left still names the camera: ``rtsp://***@10.0.0.5:554/stream?channel=1&token=***``.
    """
    text = _USER_PART.sub(rf"\g<scheme>{MASK}@", text)
    text = _BROKEN_USER_PART.sub(rf"\g<scheme>{MASK}@", text)
    return _SECRET_PARAMETER.sub(rf"\g<key>{MASK}", text)
