# SPDX-License-Identifier: Apache-2.0
"""Refusals as ``application/problem+json`` (RFC 9457): one clear sentence, and never anything of the inside."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from helmet_cloud.errors import BadRequest, Busy, HubError, OutOfSpace, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS: Mapping[type[HubError], int] = {Busy: 5, OutOfSpace: 60}
"""After how long a client may try again, by the kind of refusal."""

_log = structlog.get_logger(__name__)
_SHOWN_PROBLEMS = 20
_OWN_FAULT = 500


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    """An answer that says no.

    Args:
        status: of HTTP.
        detail: the sentence.
        headers: further ones.
        more: further members of the document.
    """
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Refused"
    document = {"type": "about:blank", "title": title, "status": status, "detail": _printable(detail), **more}
    return JSONResponse(document, status, dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: HubError) -> JSONResponse:
    """The answer to a refused request; ``error.problems``, where there is such a list, comes along."""
    headers = {}
    for kind, seconds in RETRY_SECONDS.items():
        if isinstance(error, kind):
            headers["Retry-After"] = str(seconds)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="helmet hub"'
    lines = getattr(error, "problems", ())
    more = {"problems": [_printable(line) for line in lines]} if lines else {}
    return problem(error.status, str(error), headers, **more)


def install_problems(
    app: FastAPI, other: Callable[[Request, HubError], Response | None] = lambda _request, _error: None
) -> None:
    """Makes an app answer every refusal and fault so.

    Args:
        app: gets the handlers.
        other: asked first; may answer in another form, as the resource API does below ``/apis``.
    """

    def answer(request: Request, error: HubError) -> Response:
        return other(request, error) or problem_of(error)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HubError)  # noqa: S101 - by registration
        if error.status >= _OWN_FAULT and not isinstance(error, OutOfSpace):
            _log.error("request failed", path=request.url.path, error=str(error), exc_info=error)
        return answer(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
        return answer(request, BadRequest(_sentence(error)))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - as above
        refusal = HubError(error.detail)
        refusal.status = error.status_code
        found = answer(request, refusal)
        found.headers.update(error.headers or {})
        return found

    async def broken(request: Request, error: Exception) -> Response:
        _log.error("request failed unexpectedly", path=request.url.path, exc_info=error)
        return answer(request, HubError("the hub failed inside; its log has the reason"))

    app.add_exception_handler(HubError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, broken)


def _sentence(error: RequestValidationError) -> str:
    lines = []
    for one in error.errors()[:_SHOWN_PROBLEMS]:
        place = ".".join(str(part) for part in one.get("loc", ()))
        lines.append(f"{place}: {one.get('msg', 'cannot be right')}")
    return "; ".join(lines) or "the request cannot be right"


def _printable(text: str) -> str:
    """What a client sent may come back in a message: as text that shows, lone surrogates included."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
