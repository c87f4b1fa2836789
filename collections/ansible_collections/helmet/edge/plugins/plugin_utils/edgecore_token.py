# SPDX-License-Identifier: Apache-2.0
"""What a KubeEdge token tells without being used.

It is the sha256 of the cloud's authority, a dot, and a JWT: KubeEdge's pkg/security/token/token.go.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass

_SHAPE = re.compile(r"([0-9a-f]{64})\.([\w-]+)\.([\w-]+)\.([\w-]+)")


@dataclass(frozen=True)
class Token:
    """What can be read of it; nothing of it is secret.

    Attributes:
        authority_sha256: of the authority's certificate (DER), hexadecimal.
        expires: Unix seconds; None where it does not say.
    """

    authority_sha256: str
    expires: float | None


class TokenError(ValueError):
    """It is no token; the message never repeats it."""


def read(text: str) -> Token:
    """What a token says.

    Raises:
        TokenError: it has another shape.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        parts = text.strip().count(".") + 1
        raise TokenError(f"expected the four parts that keadm gettoken prints, found {parts} ({len(text)} characters)")
    try:
        padded = match[3] + "=" * (-len(match[3]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        expires = claims.get("exp")
        return Token(match[1], None if expires is None else float(expires))
    except (binascii.Error, UnicodeDecodeError, ValueError, TypeError, AttributeError) as error:
        raise TokenError("its third part is no claims of a JWT: copy the line that keadm gettoken prints") from error


def problems(text: str, now: float) -> list[str]:
    """What is wrong with a token at a time in Unix seconds; empty where nothing is."""
    if not text.strip():
        return ["it is empty: give it from a vault, or kubeedge_node_kubeconfig, from which it is fetched"]
    try:
        token = read(text)
    except TokenError as error:
        return [str(error)]
    if token.expires is not None and token.expires <= now:
        ago = int((now - token.expires) / 60)
        return [f"it expired {ago} minutes ago; tokens live 12 to 24 hours: get a new one by keadm gettoken"]
    return []
