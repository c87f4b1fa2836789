# SPDX-License-Identifier: Apache-2.0
"""``/livez``, ``/readyz`` and ``/version``: what a probe or kubectl asks before it has a token."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, PlainTextResponse, Response

import helmet_cloud

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def basics_router(checks: Mapping[str, Callable[[], str | None]]) -> APIRouter:
    """The open paths.

    Args:
        checks: by name, each says what is wrong, or None.
    """
    router = APIRouter(tags=["basics"])

    @router.get("/livez", response_class=PlainTextResponse, summary="Whether the process answers")
    async def livez() -> str:
        return "ok"

    @router.get(
        "/readyz",
        summary="Whether every part does its work",
        responses={200: {"content": {"application/json": {}}}, 503: {"description": "A part does not; it is named"}},
    )
    def readyz() -> Response:
        problems = {name: said for name, check in checks.items() if (said := _look(check)) is not None}
        document = {"ready": not problems, "checked": sorted(checks), "problems": problems}
        return JSONResponse(document, 503 if problems else 200)

    @router.get("/version", summary="Version, in Kubernetes' form")
    async def version() -> dict[str, Any]:
        major, minor, *_ = helmet_cloud.__version__.split(".")
        return {
            "major": major,
            "minor": minor,
            "gitVersion": f"v{helmet_cloud.__version__}",
            "platform": f"linux/{platform.machine()}",
        }

    return router


def _look(check: Callable[[], str | None]) -> str | None:
    try:
        return check()
    except Exception as error:
        return str(error) or type(error).__name__
