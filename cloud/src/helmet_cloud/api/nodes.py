# SPDX-License-Identifier: Apache-2.0
"""``/v1/nodes``: nodes report here, and people see the fleet, grouped by the model that runs."""

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from helmet_agent.contract import ContractError, NodeReport
from helmet_cloud.api.auth import Auth, Identity
from helmet_cloud.api.bodies import read_text_body
from helmet_cloud.errors import BadRequest, Forbidden, NotFound
from helmet_cloud.fleet import by_model, node_wire
from helmet_cloud.store.database import Database
from helmet_cloud.store.nodes import NodeRow, list_nodes, node_history, take_report
from helmet_cloud.store.tokens import KUBE, LABELS, NODE

MAX_REPORT_BYTES = 64 << 10


def nodes_router(database: Database, auth: Auth, now: Callable[[], float] = time.time) -> APIRouter:
    """The routes.

    Args:
        database: of the hub.
        auth: knows tokens.
        now: Unix time in seconds.
    """
    router = APIRouter(prefix="/v1/nodes", tags=["nodes"])
    reader = auth.require(KUBE, LABELS)

    @router.post("/{name}/report", response_model=None, status_code=204)
    async def report(
        name: str, request: Request, identity: Annotated[Identity, Depends(auth.require(NODE))]
    ) -> Response:
        """Take what a node says of itself."""
        if not identity.may_act_for(name):
            raise Forbidden(f"the token does not open the node {name}: a node reports for itself")
        body = await read_text_body(request, MAX_REPORT_BYTES)
        found = parse_report(name, body)
        await run_in_threadpool(_keep, database, found, now())
        return Response(status_code=204)

    @router.get("", response_model=None, dependencies=[Depends(reader)])
    def fleet() -> dict[str, Any]:
        """List all nodes, and their names by the digest of the model that they run."""
        with database.read() as session:
            rows = list_nodes(session)
        moment = now()
        return {"nodes": [node_wire(row, moment) for row in rows], "by_model": by_model(rows)}

    @router.get("/{name}", response_model=None, dependencies=[Depends(reader)])
    def node(name: str) -> dict[str, Any]:
        """Show one node with the history of what it said."""
        with database.read() as session:
            changes = node_history(session, name)
            row = session.get(NodeRow, name)
            if row is None:
                raise NotFound(f"no node is called {name[:140]!r}")
            history = [{"received_seconds": one.received_seconds, "report": one.report} for one in changes]
            return {**node_wire(row, now()), "history": history}

    return router


def parse_report(name: str, body: bytes) -> NodeReport:
    """Reads a report.

    Args:
        name: the node, from the path.
        body: what it sent.

    Raises:
        BadRequest: it is none, or another node's.
    """
    try:
        found = NodeReport.from_json(json.loads(body))
        json.dumps(found.to_json(), ensure_ascii=False).encode()
    except ContractError as error:
        raise BadRequest(f"report: {error}") from None
    except UnicodeEncodeError:
        raise BadRequest("report: lone surrogates are not taken") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"report: no JSON: {' '.join(str(error).split())[:200]}") from None
    if found.node != name:
        raise BadRequest(f"report: node is {found.node}, the path says {name[:140]!r}")
    return found


def _keep(database: Database, report: NodeReport, now: float) -> None:
    with database.write() as session:
        take_report(session, report, now)
