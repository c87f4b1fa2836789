# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud nodes``: who belongs to the fleet, and how it is."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helmet_agent.errors import EXIT_USAGE
from helmet_cloud.cli.hub_folder import opened
from helmet_cloud.cli.serve import DataDir  # noqa: TC001 - typer reads the annotations when it runs

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN_DIGITS = 12
_COLUMNS = ("NAME", "RING", "MODEL", "RELEASE", "STATE", "HEALTH", "SEEN")

nodes = typer.Typer(help="Nodes: enrol, revoke, list. Works on DIR, beside a running hub too, and counts at once.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The node's name, as in its configuration.")]


@nodes.callback(invoke_without_command=True)
def _top(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


@nodes.command()
def add(
    name: Name,
    data_dir: DataDir,
    token_sha256: Annotated[
        str, typer.Option(metavar="HEX", help="sha256 of the token that the node made; the token itself stays there.")
    ],
    *,
    ring: Annotated[str | None, typer.Option(metavar="stable|canary", help="Default: stable, or as it was.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let this token take the place of the one that the node has now.")
    ] = False,
) -> None:
    """Enrol a node: from now on its token opens its own examples and reports, and nothing else.

    Prints 'added', 'changed' or 'unchanged'; doing it twice changes nothing.

    `helmet-cloud nodes add edge-1 --token-sha256 "$HEX" --ring canary --data-dir hub`
    """
    from helmet_cloud.store.nodes import add_node  # noqa: PLC0415 - commands load only what they use

    with opened(data_dir) as (_, database), database.write() as session:
        done = add_node(session, name, token_sha256.strip().lower(), ring, time.time(), replace=replace)
    print(f"{name}: {done}")


@nodes.command()
def revoke(name: Name, data_dir: DataDir) -> None:
    """Refuse a node's token from this moment on. What the node sent stays; enrolling it again takes a new token.

    `helmet-cloud nodes revoke edge-1 --data-dir hub`
    """
    from helmet_cloud.store.nodes import revoke_node  # noqa: PLC0415 - as above

    with opened(data_dir) as (_, database), database.write() as session:
        done = revoke_node(session, name, time.time())
    print(f"{name}: {'revoked' if done else 'unchanged'}")


@nodes.command("list")
def list_command(
    data_dir: DataDir, *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show every node: the model that runs, its ring, its health and when it was last heard.

    A node that has been silent for five minutes is marked 'stale'.

    `helmet-cloud nodes list --data-dir hub`
    """
    from helmet_cloud.fleet import by_model, node_wire  # noqa: PLC0415 - as above
    from helmet_cloud.store.nodes import list_nodes  # noqa: PLC0415 - as above

    now = time.time()
    with opened(data_dir) as (_, database), database.read() as session:
        rows = list_nodes(session)
    found = [node_wire(row, now) for row in rows]
    if as_json:
        print(json.dumps({"nodes": found, "by_model": by_model(rows)}))
        return
    table = [_COLUMNS, *(_line(one) for one in found)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_COLUMNS))]
    for line in table:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    for model, names in by_model(rows).items():
        print(f"{model[:SHOWN_DIGITS]}: {len(names)} {'node' if len(names) == 1 else 'nodes'}")


def _line(node: Mapping[str, Any]) -> tuple[str, ...]:
    model = str(node["model"] or "-")[:SHOWN_DIGITS]
    release = "-" if node["release"] is None else str(node["release"])
    if node["revoked"]:
        health = "revoked"
    elif node["seen_seconds"] is None:
        health = "never heard"
    elif node["stale"]:
        health = "stale"
    else:
        health = "healthy" if node["healthy"] else "; ".join(node["problems"]) or "unhealthy"
    seen = node["seen_seconds"]
    moment = "-" if seen is None else dt.datetime.fromtimestamp(seen, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return (str(node["name"]), str(node["ring"]), model, release, str(node["state"] or "-"), health, moment)
