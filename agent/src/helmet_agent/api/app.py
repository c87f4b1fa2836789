# SPDX-License-Identifier: Apache-2.0
"""The routes of the node's HTTP interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Header, Query
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import HTMLResponse, JSONResponse, Response

from helmet_agent import __version__
from helmet_agent.api.broadcast import TooManyListenersError
from helmet_agent.api.guard import COOKIE, Guard, session_value
from helmet_agent.api.page import content_security_policy, page
from helmet_agent.api.preview import PreviewRefusedError
from helmet_agent.api.streams import BOUNDARY, LongResponse, StreamGate, Waker, event_lines, pictures
from helmet_agent.metrics import make_registry

if TYPE_CHECKING:
    from helmet_agent.api.views import NodeView
    from helmet_agent.status import Health

_SESSION_SECONDS = 12 * 3600
_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class ApiPace:
    """How fast the long answers go.

    Attributes:
        heartbeat_seconds: between two signs of life in a stream of events.
        picture_seconds: least time between two pictures of the preview.
    """

    heartbeat_seconds: float = 15.0
    picture_seconds: float = 0.1


def create_api(node: NodeView, token: str | None, pace: ApiPace | None = None) -> FastAPI:
    """The node's HTTP interface as an ASGI application; ``app.state.gate`` ends its streams.

    Args:
        node: what is shown.
        token: who asks must show it; None only where nobody but this machine can connect.
        pace: how fast the long answers go.
    """
    gate = StreamGate()
    routes = _Routes(node, token, gate, pace or ApiPace())
    app = FastAPI(
        title="helmet-agent",
        version=__version__,
        description="One node: its health, what it sees, and what it keeps.",
        # The documentation pages fetch their scripts from elsewhere; the schema itself stays on the machine.
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if token is None else None,
    )
    app.state.gate = gate
    app.add_middleware(Guard, token=token, login_page=page, policy=content_security_policy())
    for path, route in (
        ("/", routes.index),
        ("/healthz", routes.healthz),
        ("/readyz", routes.readyz),
        ("/metrics", routes.metrics),
        ("/v1/status", routes.status),
        ("/v1/model", routes.model),
        ("/v1/events", routes.events),
        ("/v1/preview.mjpg", routes.preview),
    ):
        app.add_api_route(path, route, methods=["GET"], response_class=Response, response_model=None)
    if token is not None:
        app.add_api_route("/session", routes.session, methods=["POST"], response_class=Response, response_model=None)
    return app


class _Routes:
    """One method for each path. What only copies figures runs on the event loop; drawing never does."""

    def __init__(self, node: NodeView, token: str | None, gate: StreamGate, pace: ApiPace) -> None:
        self._node = node
        self._token = token
        self._gate = gate
        self._pace = pace
        self._registry = make_registry(node)

    async def index(self) -> Response:
        """The page for people."""
        return HTMLResponse(page())

    def healthz(self) -> Response:
        """Whether the node does its work: 200 for ok and degraded, 503 for failing; the reasons in any case."""
        return _health(self._node.health())

    def readyz(self) -> Response:
        """Whether the model is warm and frames can be processed: 200 or 503."""
        return _health(self._node.ready())

    def metrics(self) -> Response:
        """Prometheus metrics."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def status(self) -> Response:
        """All figures of this moment."""
        return JSONResponse(self._node.snapshot().to_json())

    def model(self) -> Response:
        """The live model's manifest."""
        manifest = self._node.manifest()
        if manifest is None:
            return _refusal("there is no live model yet")
        return JSONResponse(manifest.to_json())

    async def events(
        self,
        recent: Annotated[int, Query(ge=0, le=50, description="so many past events first")] = 0,
        last_event_id: Annotated[str | None, Header(description="go on after this event")] = None,
    ) -> Response:
        """Server-sent events: violations as they start and end."""
        waker = Waker()
        try:
            feed = self._node.events.subscribe(waker, after=last_event_id, recent=recent)
        except TooManyListenersError as error:
            return _refusal(str(error))
        self._gate.enter(waker)

        def done() -> None:
            self._gate.leave(waker)
            feed.close()

        lines = event_lines(feed, waker, self._gate, self._pace.heartbeat_seconds)
        return LongResponse(lines, "text/event-stream", done)

    def preview(
        self,
        source: Annotated[str | None, Query(description="name of the source; any when left out")] = None,
    ) -> Response:
        """The live picture with boxes, as a multipart stream of JPEGs."""
        names = [status.name for status in self._node.snapshot().sources]
        if source is not None and source not in names:
            return JSONResponse({"detail": f"no such source; there are: {', '.join(names) or 'none'}"}, 404)
        try:
            viewer = self._node.preview.open(source)
        except PreviewRefusedError as error:
            return _refusal(str(error))
        stream = pictures(viewer, self._gate, self._pace.picture_seconds)
        return LongResponse(stream, f"multipart/x-mixed-replace; boundary={BOUNDARY}", viewer.close)

    async def session(self) -> Response:
        """A cookie for the page, for whoever has just shown the token: pictures and streams cannot send headers."""
        answer = Response(status_code=204)
        answer.set_cookie(
            COOKIE, session_value(self._token or ""), max_age=_SESSION_SECONDS, httponly=True, samesite="strict"
        )
        return answer


def _health(health: Health) -> Response:
    body: dict[str, Any] = {"status": health.status, "reasons": list(health.reasons)}
    return JSONResponse(body, 200 if health.ok else _UNAVAILABLE)


def _refusal(reason: str) -> Response:
    return JSONResponse({"detail": reason}, _UNAVAILABLE, headers={"Retry-After": "5"})
