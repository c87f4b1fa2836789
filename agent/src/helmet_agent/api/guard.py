# SPDX-License-Identifier: Apache-2.0
"""Who may ask: on loopback only this machine's own names, elsewhere only who shows the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from helmet_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "helmet_agent"
SHORTEST_TOKEN = 16
_LONGEST_TOKEN_FILE = 4096


def read_token(path: Path) -> str:
    """The token in a file: its only line.

    Raises:
        ConfigError: it cannot be read, or holds nothing that can serve as a token. The message does not show it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_TOKEN_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the token cannot be read: {error.strerror}") from error
    try:
        token = content.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN_FILE or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{path}: expected one line of at least {SHORTEST_TOKEN} letters and digits, the token; "
            "make one with `openssl rand -hex 32`"
        )
    return token


def session_value(token: str) -> str:
    """What the browser's cookie holds: proves that the token was known, does not tell it."""
    return hmac.new(token.encode(), b"helmet-agent session", hashlib.sha256).hexdigest()


class Guard:
    """ASGI middleware: checks every request before the application sees it, adds security headers to every answer.

    Args:
        app: what is guarded.
        token: None on loopback, where the Host header must name loopback, so that no web page elsewhere can reach the
            node through a name of its own (DNS rebinding).
        login_page: what a browser without the token gets at ``/``, and the Content-Security-Policy of pages.
        policy: the Content-Security-Policy of every answer.
    """

    def __init__(self, app: ASGIApp, token: str | None, login_page: Callable[[], bytes], policy: str) -> None:
        self._app = app
        self._token = token
        self._login_page = login_page
        self._headers = _security_headers(policy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *self._headers]}
            await send(message)

        headers = _headers(scope)
        refusal = self._refuse_guest(headers) if self._token is None else self._refuse_stranger(headers)
        if refusal is None:
            await self._app(scope, receive, secured)
        elif refusal[0] == 401 and scope["path"] == "/":  # noqa: PLR2004 - Unauthorized
            await _answer(secured, 401, b"text/html; charset=utf-8", self._login_page())
        else:
            body = json.dumps({"detail": refusal[1]}).encode()
            await _answer(secured, refusal[0], b"application/json", body)

    def _refuse_guest(self, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """On loopback: why not, or None."""
        if not is_loopback_host(headers.get(b"host", b"").decode("latin-1")):
            return 403, "this address answers to localhost only; set api.token_file to be reached by another name"
        if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site") and (
            headers.get(b"sec-fetch-mode") != b"navigate"
        ):
            return 403, "another web site asks for this"
        return None

    def _refuse_stranger(self, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """With a token: why not, or None. Every comparison takes the same time whatever differs."""
        token = self._token or ""
        scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(shown.strip(), token.encode()):
            return None
        cookie = _cookie(headers.get(b"cookie", b"").decode("latin-1"))
        if hmac.compare_digest(cookie.encode(), session_value(token).encode()):
            return None
        return 401, "show the node's token: Authorization: Bearer TOKEN"


def is_loopback_host(host: str) -> bool:
    """Whether a Host header (``localhost:8765``, ``[::1]``) names this machine as only itself can see it."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.rpartition(":")[0] or host
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """The request's headers; of one given twice the first counts, but Host twice counts as none."""
    found: dict[bytes, bytes] = {}
    for key, value in scope["headers"]:
        if key == b"host" and key in found:
            found[key] = b""
        found.setdefault(key, value)
    return found


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _security_headers(policy: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]


async def _answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if status == 401:  # noqa: PLR2004 - Unauthorized
        headers.append((b"www-authenticate", b'Bearer realm="helmet-agent"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
