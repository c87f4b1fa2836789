# SPDX-License-Identifier: Apache-2.0
"""Refusals as Kubernetes clients read them: objects of kind Status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from helmet_cloud.errors import BadRequest, HubError, NotFound
from helmet_cloud.resources.kinds import GROUP
from helmet_cloud.resources.problems import Invalid
from helmet_cloud.store.resources import AlreadyExists

if TYPE_CHECKING:
    from helmet_cloud.resources.kinds import Kind

_log = structlog.get_logger(__name__)

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "Timeout",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
}
_OUT_OF_SPACE = 507


class Refused(HubError):  # noqa: N818 - the state of the request
    """A refusal with a status of HTTP of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class About(HubError):  # noqa: N818 - says whom a refusal is about
    """A refusal, and the object that it is about.

    Args:
        error: the refusal.
        kind: of the object.
        name: of the object.
    """

    def __init__(self, error: HubError, kind: Kind, name: str) -> None:
        title = f"{kind.plural}.{GROUP}" if kind.api_version.startswith(GROUP) else kind.plural
        text = str(error)
        if isinstance(error, NotFound):
            text = f'{title} "{name}" not found'
        elif isinstance(error, AlreadyExists):
            text = f'{title} "{name}" already exists'
        elif error.status == 409:  # noqa: PLR2004 - conflict
            text = f'Operation cannot be fulfilled on {title} "{name}": {error}'
        super().__init__(text)
        self.status = error.status
        self.reason = "AlreadyExists" if isinstance(error, AlreadyExists) else None
        group = GROUP if kind.api_version.startswith(GROUP) else ""
        invalid = isinstance(error, Invalid)
        self.details: dict[str, Any] = {"name": name, "group": group, "kind": kind.name if invalid else kind.plural}
        if isinstance(error, Invalid):
            self.details["causes"] = [
                {"reason": each.reason, "message": each.message, "field": each.field} for each in error.problems
            ]


def status_of(error: Exception) -> dict[str, Any]:
    """The Status object that says what went wrong; what was not meant for clients is logged instead."""
    error = _known(error)
    code, reason, details = error.status, getattr(error, "reason", None), getattr(error, "details", None)
    found: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(error),
        "reason": reason or _REASONS.get(code, "InternalError"),
        "code": code,
    }
    return found | ({"details": details} if details else {})


def refusal(error: Exception) -> JSONResponse:
    """The answer to a request that failed."""
    document = status_of(error)
    headers = {"WWW-Authenticate": 'Bearer realm="helmet hub"'} if document["code"] == 401 else {}  # noqa: PLR2004
    headers |= {"Retry-After": "5"} if document["code"] == 429 else {}  # noqa: PLR2004 - too many requests
    return JSONResponse(document, document["code"], headers)


def _known(error: Exception) -> HubError:
    if isinstance(error, HubError):
        return error
    if isinstance(error, HTTPException):
        return Refused(error.status_code, str(error.detail))
    if isinstance(error, RequestValidationError):
        return BadRequest("the request cannot be right")
    if isinstance(error, OperationalError) and "full" in str(error.orig):
        return Refused(_OUT_OF_SPACE, "the hub's disk is full; nothing was changed")
    _log.error("request failed unexpectedly", exc_info=error)
    return Refused(500, "the hub failed inside; its log has the reason")
