# SPDX-License-Identifier: Apache-2.0
"""HTTP for the verbs: paths, queries, tables, warnings, watches."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response, StreamingResponse

from helmet_cloud.api.kube.address import Address, read_address
from helmet_cloud.api.kube.bodies import read_body, read_object, read_patch
from helmet_cloud.api.kube.discovery import VERBS, discovery
from helmet_cloud.api.kube.failure import Refused, refusal
from helmet_cloud.api.kube.openapi import INDEX_PATH, group_document, index
from helmet_cloud.api.kube.table import table
from helmet_cloud.api.kube.verbs import Options, Verbs
from helmet_cloud.api.kube.watching import Watching, read_watch_options
from helmet_cloud.errors import BadRequest
from helmet_cloud.resources.admission import STRICT, VALIDATIONS
from helmet_cloud.resources.reading import read_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from helmet_cloud.settings import HubSettings
    from helmet_cloud.store.resources import ResourceStore

Document = dict[str, Any]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PATHS = ("/api", "/api/{rest:path}", "/apis", "/apis/{rest:path}", INDEX_PATH, INDEX_PATH + "/{rest:path}")
_TRUE = ("true", "1")
_MAX_WARNINGS, _MAX_WARNING = 20, 500  # some clients take no more than 16 kB of headers


class KubeRoute(APIRoute):
    """Answers refusals, also those of the dependencies, as Status objects."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps the route's own handler."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                return refusal(error)

        return guarded


def kube_router(
    store: ResourceStore, settings: HubSettings, require: Callable[..., Callable[..., Awaitable[Any]]]
) -> APIRouter:
    """Everything below ``/api``, ``/apis`` and ``/openapi/v3``, for tokens with the scope ``kube``.

    Args:
        store: where resources are kept.
        settings: of the hub; its zone is that of windows that name none.
        require: makes the dependency that holds a request's token against scopes.
    """
    router = APIRouter(route_class=KubeRoute, dependencies=[Depends(require("kube"))], include_in_schema=False)
    face = Face(Verbs(store, settings.zone))
    for path in _PATHS:
        router.add_api_route(path, face.answer, methods=[*METHODS], response_model=None)
    return router


@dataclass(frozen=True)
class Asked:
    """A request for resources, with its body read."""

    request: Request
    address: Address
    body: bytes = b""

    def query(self, name: str) -> str:
        """A parameter of the query, or nothing."""
        return self.request.query_params.get(name, "")

    @property
    def media_type(self) -> str:
        """Of the body."""
        return self.request.headers.get("content-type", "")

    def options(self, body: Document | None = None) -> Options:
        """How a write is meant.

        Raises:
            BadRequest: a parameter that cannot be right.
        """
        dry_run = self.request.query_params.getlist("dryRun") or (body or {}).get("dryRun") or []
        validation = self.query("fieldValidation") or STRICT
        if dry_run not in ([], ["All"], [""]):
            raise BadRequest(f"dryRun: expected All, found {str(dry_run)[:80]}")
        if validation not in VALIDATIONS:
            raise BadRequest(f"fieldValidation: expected one of {', '.join(VALIDATIONS)}, found {validation[:40]!r}")
        return Options(dry_run=dry_run == ["All"], validation=validation)


@dataclass(frozen=True)
class Answer:
    """What a verb answered."""

    document: Document
    status: int = 200
    warnings: Sequence[str] = field(default=())
    rows: Sequence[Document] | None = None
    """The resources in it, for a table; None where it is no resource."""


class Face:
    """Answers requests.

    Args:
        verbs: what is done.
    """

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._watching = Watching(verbs)

    async def answer(self, request: Request) -> Response:
        """Answers any request below the paths of the API."""
        path = request.url.path
        if request.method == "GET":
            document = await run_in_threadpool(_document, path)
            if document is not None:
                return JSONResponse(document)
        address = read_address(path)
        _check_verb(address, request)
        if request.method == "GET" and (request.query_params.get("watch") in _TRUE) and address.name is None:
            return await self._watch(Asked(request, address))
        body = await read_body(request) if request.method != "GET" else b""
        asked = Asked(request, address, body)
        answer = await run_in_threadpool(self._verb(asked), asked)
        return self._shown(asked, answer)

    def _verb(self, asked: Asked) -> Callable[[Asked], Answer]:
        verbs = {"POST": self._create, "PUT": self._replace, "PATCH": self._patch, "DELETE": self._delete}
        reading = self._list if asked.address.name is None else self._get
        return verbs.get(asked.request.method, reading)

    def _get(self, asked: Asked) -> Answer:
        found = self._verbs.get(asked.address)
        return Answer(found, rows=[found])

    def _list(self, asked: Asked) -> Answer:
        if asked.query("continue"):
            raise Refused(410, "lists come whole here: list again without continue")
        selection = self._verbs.select(asked.address, asked.query("fieldSelector"), asked.query("labelSelector"))
        found, version = self._verbs.list(selection)
        kind = asked.address.kind
        document = {
            "apiVersion": kind.api_version,
            "kind": f"{kind.name}List",
            "metadata": {"resourceVersion": str(version)},
            "items": found,
        }
        return Answer(document, rows=found)

    def _create(self, asked: Asked) -> Answer:
        written = self._verbs.create(asked.address, read_object(asked.media_type, asked.body), asked.options())
        return Answer(written.document, 201, written.warnings, [written.document])

    def _replace(self, asked: Asked) -> Answer:
        written = self._verbs.replace(asked.address, read_object(asked.media_type, asked.body), asked.options())
        return Answer(written.document, warnings=written.warnings, rows=[written.document])

    def _patch(self, asked: Asked) -> Answer:
        kind, reading = read_patch(asked.media_type, asked.body)
        written = self._verbs.patch(asked.address, kind, reading, asked.options())
        return Answer(written.document, warnings=written.warnings, rows=[written.document])

    def _delete(self, asked: Asked) -> Answer:
        body = read_json(asked.body).value if asked.body.strip() else {}
        wanted = body.get("preconditions") or {} if isinstance(body, dict) else None
        if not isinstance(wanted, dict):
            raise BadRequest("expected DeleteOptions")
        found = self._verbs.delete(asked.address, wanted.get("uid"), wanted.get("resourceVersion"), asked.options(body))
        kind = asked.address.kind
        details = {"name": asked.address.name, "kind": kind.plural, "uid": found["metadata"].get("uid", "")}
        group = kind.api_version.rpartition("/")[0]
        details |= {"group": group} if group else {}
        return Answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    async def _watch(self, asked: Asked) -> Response:
        selection = self._verbs.select(asked.address, asked.query("fieldSelector"), asked.query("labelSelector"))
        options = read_watch_options(asked.query)
        shown = functools.partial(self._table_of_one, asked) if _wants_table(asked.request) else _same
        lines = await self._watching.lines(selection, options, shown)
        return StreamingResponse(lines, media_type="application/json")

    def _shown(self, asked: Asked, answer: Answer) -> Response:
        document = answer.document
        if answer.rows is not None and _wants_table(asked.request):
            version = document["metadata"].get("resourceVersion", "")
            document = self._table(asked, answer.rows, version)
        response = JSONResponse(document, answer.status)
        for warning in answer.warnings[:_MAX_WARNINGS]:
            response.headers.append("Warning", f'299 - "{_quoted(warning)}"')
        return response

    def _table_of_one(self, asked: Asked, document: Document) -> Document:
        return self._table(asked, [document], document["metadata"].get("resourceVersion", ""))

    def _table(self, asked: Asked, rows: Sequence[Document], version: str) -> Document:
        include = asked.query("includeObject") or "Metadata"
        return table(asked.address.kind.name, rows, version, self._verbs.store.now(), include)


def _document(path: str) -> Document | None:
    if path.rstrip("/") == INDEX_PATH:
        return index()
    return group_document(path) or discovery(path)


def _check_verb(address: Address, request: Request) -> None:
    verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(request.method, "list")
    known = VERBS[address.kind.name]
    one = address.name is not None
    fits = one if verb in ("update", "patch", "delete") else (not one or verb == "list")
    if verb not in known or not fits or (address.status and verb == "delete"):
        raise Refused(405, f"{address.kind.plural} know no {request.method} here")


def _wants_table(request: Request) -> bool:
    first = request.headers.get("accept", "").partition(",")[0].replace(" ", "")
    return "as=Table" in first and "v=v1;" in first + ";" and "g=meta.k8s.io" in first


def _same(document: Document) -> Document:
    return document


def _quoted(text: str) -> str:
    """A text for a header: ASCII, one line, quotes and backslashes escaped."""
    plain = "".join(char if char.isprintable() and char.isascii() else "?" for char in text)[:_MAX_WARNING]
    return plain.replace("\\", "\\\\").replace('"', '\\"')
