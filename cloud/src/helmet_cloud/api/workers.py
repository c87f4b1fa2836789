# SPDX-License-Identifier: Apache-2.0
"""Sedna's report endpoint: ``POST /sedna/workers/{name}/info``, plain HTTP on a loopback address, no token.

The contract is that of the local controller of Sedna v0.7.0: any worker written for it can report here. Answers have
its form, ``{"Status": 200, "Message": "OK"}``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from fastapi import FastAPI, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from helmet_cloud.errors import BadRequest, HubError, TooLarge
from helmet_cloud.ports import WorkerReport
from helmet_cloud.store.worker_reports import WorkerReports

if TYPE_CHECKING:
    from helmet_cloud.store.database import Database

MAX_REPORT_BYTES = 1 << 20
MAX_RESULTS = 16
KINDS = ("train", "eval", "deploy", "inference")
STATUSES = ("pending", "running", "completed", "failed")


def workers_app(database: Database) -> FastAPI:
    """The app that the hub serves on ``workers_listen``.

    Args:
        database: reports are in it before the worker gets its answer.
    """
    reports = WorkerReports(database)
    app = FastAPI(title="helmet-cloud workers", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/sedna/workers/{name}/info")
    async def take_report(name: Annotated[str, Path(max_length=253)], request: Request) -> JSONResponse:
        """Takes the report of one worker; the last one counts."""
        body = await read_capped(request, MAX_REPORT_BYTES)
        await run_in_threadpool(_keep, reports, name, body)
        return _answer(200, "OK")

    @app.exception_handler(HubError)
    async def refuse(_request: Request, error: HubError) -> JSONResponse:
        """A refusal in Sedna's form."""
        return _answer(error.status, str(error))

    @app.exception_handler(404)
    async def nothing(_request: Request, _error: Exception) -> JSONResponse:
        """Another path, in the same form."""
        return _answer(404, "expected POST /sedna/workers/{worker}/info")

    return app


async def read_capped(request: Request, limit: int) -> bytes:
    """The body, never more than ``limit`` bytes of it.

    Raises:
        TooLarge: it says that it is longer, before anything is read, or it turns out to be.
    """
    said = request.headers.get("content-length", "0")
    if said.isdigit() and int(said) > limit:
        raise TooLarge(f"{said} bytes; at most {limit} are taken")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"more than {limit} bytes")
    return bytes(body)


def _keep(reports: WorkerReports, name: str, body: bytes) -> None:
    job, kind = reports.owner(name)
    report = parse_report(name, body)
    document = json.loads(body)
    owner = (document.get("namespace", job.namespace), document.get("ownerName", job.name))
    if owner != (job.namespace, job.name):
        raise BadRequest(f"worker {name} belongs to {job}, the report speaks of {owner[0]}/{owner[1]}")
    if report.kind != kind:
        raise BadRequest(f"worker {name} is a {kind} worker, the report is of kind {report.kind}")
    reports.add(report)


def parse_report(name: str, body: bytes) -> WorkerReport:
    """Reads a report.

    Args:
        name: the worker, from the path.
        body: what it sent.

    Raises:
        BadRequest: no JSON object, another worker's name, or a field of the wrong type.
    """
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"body: no JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadRequest("body: expected a JSON object")
    if document.get("name") != name:
        raise BadRequest(f"name: the path says {name}, the body says {document.get('name')!r}")
    return WorkerReport(
        name,
        _one_of(document, "kind", KINDS),
        _one_of(document, "status", STATUSES),
        _results(document.get("results")),
        _mapping(document.get("ownerInfo"), "ownerInfo"),
    )


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _one_of(document: dict[str, Any], field: str, known: tuple[str, ...]) -> str:
    value = document.get(field)
    if value not in known:
        raise BadRequest(f"{field}: expected {', '.join(known)}, found {str(value)[:40]!r}")
    return str(value)


def _mapping(value: Any, field: str) -> dict[str, Any]:
    # Sedna's own library sends null where it has nothing to say
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{field}: expected an object")
    return value


def _results(value: Any) -> tuple[dict[str, Any], ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_RESULTS:
        raise BadRequest(f"results: expected a list of at most {MAX_RESULTS}")
    for index, one in enumerate(value):
        if not isinstance(one, dict) or not isinstance(one.get("format"), str) or not isinstance(one.get("url"), str):
            raise BadRequest(f"results[{index}]: expected an object with the texts format and url")
        _mapping(one.get("metrics"), f"results[{index}].metrics")
    return tuple(value)


def _answer(status: int, message: str) -> JSONResponse:
    return JSONResponse({"Status": status, "Message": message}, status)
