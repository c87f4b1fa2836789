# SPDX-License-Identifier: Apache-2.0
"""Small bodies of requests, within bounds of size and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from helmet_cloud.errors import BadRequest, TooLarge, TooSlow

if TYPE_CHECKING:
    from starlette.requests import Request

SECONDS = 60.0
"""In which all of it has to come."""


async def read_text_body(request: Request, most: int, seconds: float = SECONDS) -> bytes:
    """The body of a request.

    Args:
        request: whose body nobody has read yet.
        most: bytes.
        seconds: how long to wait for all of it.

    Raises:
        TooLarge: it is, or says that it is, longer.
        TooSlow: it did not come in time.
        BadRequest: the sender went away.
    """
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or len(said) > len(str(most)) or int(said) > most:
        raise TooLarge(f"a body of {said[:20]} bytes; at most {most} are taken here")
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise TooLarge(f"more than {most} bytes; no more are taken here")
    except TimeoutError:
        raise TooSlow(f"the body did not come within {seconds:g} s; send it again") from None
    except ClientDisconnect:
        raise BadRequest("the sender went away") from None
    return bytes(body)
