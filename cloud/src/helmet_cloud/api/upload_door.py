# SPDX-License-Identifier: Apache-2.0
"""The way of uploads past the framework, whose routing is a quarter of the hub's work on each of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog
from starlette.requests import Request

from helmet_cloud.api.problem import problem_of
from helmet_cloud.errors import HubError
from helmet_cloud.store.tokens import LABELS, NODE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from helmet_cloud.api.auth import Auth
    from helmet_cloud.api.uploads import ExampleUploads

_log = structlog.get_logger(__name__)
_UPLOAD = re.compile(r"/v1/examples/([^/]+)\Z")


class UploadDoor:
    """Takes ``PUT /v1/examples/{sha256}`` itself and hands everything else on.

    The router behind it has the same route with the same answers, which is what the OpenAPI document shows.

    Args:
        app: the hub's REST interface.
        uploads: reads them; the router's own.
        auth: knows tokens.
    """

    def __init__(self, app: ASGIApp, uploads: ExampleUploads, auth: Auth) -> None:
        self._app = app
        self._uploads = uploads
        self._identity = auth.require(NODE, LABELS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        found = _UPLOAD.match(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await self._uploads.put(found[1], request, await self._identity(request))
        except HubError as error:
            answer = problem_of(error)
        except Exception as error:
            _log.error("upload failed unexpectedly", path=scope["path"], exc_info=error)
            answer = problem_of(HubError("the hub failed inside; its log has the reason"))
        await answer(scope, receive, send)
