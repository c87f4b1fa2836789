# SPDX-License-Identifier: Apache-2.0
"""``/v1/examples``: nodes put hard examples here, people and tools list, fetch and delete them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import FileResponse, Response

from helmet_cloud.api.auth import Auth, Identity
from helmet_cloud.api.uploads import ExampleUploads
from helmet_cloud.errors import Forbidden, NotFound
from helmet_cloud.examples.service import HubExamples
from helmet_cloud.examples.upload import SHA256
from helmet_cloud.store.examples import ExampleRow, UseRow, find_example, list_examples, uses_of
from helmet_cloud.store.tokens import LABELS, NODE

PAGE = 100
LONGEST_PAGE = 1000


def make_uploads(examples: HubExamples) -> ExampleUploads:
    """What reads uploads; its figures are shown with those of the examples."""
    uploads = ExampleUploads(examples.ingest, examples.max_example_bytes, examples.idle_seconds)
    examples.add_metrics(uploads.metrics)
    return uploads


def examples_router(examples: HubExamples, auth: Auth, uploads: ExampleUploads | None = None) -> APIRouter:
    """The routes.

    Args:
        examples: of the hub.
        auth: knows tokens.
        uploads: reads them; None: made here.
    """
    router = APIRouter(prefix="/v1/examples", tags=["examples"])
    _add_list(router, examples, auth)
    _add_pictures(router, examples, auth)
    uploads = uploads or make_uploads(examples)

    @router.put("/{sha256}", response_model=None, status_code=201)
    async def put(
        sha256: str, request: Request, identity: Annotated[Identity, Depends(auth.require(NODE, LABELS))]
    ) -> Response:
        """Take an example: the record as one line of JSON, a line feed, the JPEG file. 201 new, 200 known."""
        return await uploads.put(sha256, request, identity)

    @router.delete("/{sha256}", response_model=None, status_code=204, dependencies=[Depends(auth.require(LABELS))])
    def delete(sha256: str) -> Response:
        """Delete an example that no data set uses."""
        examples.housekeeping.delete(sha256)
        return Response(status_code=204)

    return router


def _add_list(router: APIRouter, examples: HubExamples, auth: Auth) -> None:
    @router.get("", response_model=None, dependencies=[Depends(auth.require(LABELS))])
    def listing(
        state: Annotated[Literal["pending", "labelled"] | None, Query()] = None,
        node: Annotated[str | None, Query(max_length=128)] = None,
        rule: Annotated[str | None, Query(max_length=512)] = None,
        limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = PAGE,
        cursor: Annotated[str, Query(pattern=r"^[0-9]{0,18}$")] = "",
    ) -> dict[str, Any]:
        """List examples in the order of their arrival; ``cursor`` of the answer asks for the next page."""
        with examples.database.read() as session:
            rows = list_examples(session, state=state, node=node, rule=rule, after=int(cursor or 0), limit=limit)
            uses = uses_of(session, [row.sha256 for row in rows])
        found = [_wire(row, uses.get(row.sha256, [])) for row in rows]
        return {"examples": found, "cursor": str(rows[-1].id) if len(rows) == limit else None}


def _add_pictures(router: APIRouter, examples: HubExamples, auth: Auth) -> None:
    sender = auth.require(NODE, LABELS)

    def find(sha256: str, identity: Identity) -> tuple[ExampleRow, list[UseRow]]:
        with examples.database.read() as session:
            row = find_example(session, sha256) if SHA256.match(sha256) else None
            if row is None:
                raise NotFound(f"no example {sha256[:80]!r}")
            if not identity.has(LABELS) and not identity.may_act_for(row.node):
                raise Forbidden("the token opens examples of its own node only")
            return row, uses_of(session, [sha256]).get(sha256, [])

    @router.get("/{sha256}", response_model=None)
    def one(sha256: str, identity: Annotated[Identity, Depends(sender)]) -> dict[str, Any]:
        """The record of an example, its state and the data sets that use it."""
        return _wire(*find(sha256, identity))

    @router.get("/{sha256}/picture", response_model=None)
    def picture(sha256: str, identity: Annotated[Identity, Depends(sender)]) -> Response:
        """The picture, as the node sent it."""
        row, _ = find(sha256, identity)
        path = examples.pictures.path(row.sha256)
        if not path.exists():
            raise NotFound(f"the picture of example {sha256} is missing on the hub's disk")
        headers = {
            "Cache-Control": "private, immutable, max-age=86400",
            "ETag": f'"{row.sha256}"',
            "X-Content-Type-Options": "nosniff",
        }
        return FileResponse(path, media_type="image/jpeg", headers=headers)


def _wire(row: ExampleRow, uses: list[UseRow]) -> dict[str, Any]:
    return {
        "record": row.record().to_json(),
        "state": row.state,
        "size_bytes": row.size_bytes,
        "received_seconds": row.received_seconds,
        "uses": [
            {
                "dataset": f"{use.namespace}/{use.dataset}",
                "labels": use.labels,
                "labelled_seconds": use.labelled_seconds,
            }
            for use in uses
        ],
    }
