# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud examples``: what nodes sent."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated

import typer

from helmet_agent.errors import EXIT_USAGE, UsageError
from helmet_cloud.cli.hub_folder import opened
from helmet_cloud.cli.serve import DataDir  # noqa: TC001 - typer reads the annotations when it runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_cloud.store.database import Database
    from helmet_cloud.store.examples import ExampleRow

_PAGE = 500

examples = typer.Typer(help="Hard examples that nodes sent: list, delete. Works on DIR, beside a running hub too.")


@examples.callback(invoke_without_command=True)
def _top(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


@examples.command("list")
def list_command(
    data_dir: DataDir,
    *,
    state: Annotated[str | None, typer.Option(metavar="pending|labelled", help="Only these.")] = None,
    node: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this node.")] = None,
    rule: Annotated[str | None, typer.Option(metavar="NAME", help="Only those that this mining rule chose.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show examples in the order of their arrival, one a line.

    `helmet-cloud examples list --state pending --data-dir hub`
    """
    from helmet_cloud.store.examples import STATES  # noqa: PLC0415 - commands load only what they use

    if state is not None and state not in STATES:
        raise UsageError(f"--state: expected {' or '.join(STATES)}, found {state!r}")
    with opened(data_dir) as (_, database):
        for row in _rows(database, state, node, rule):
            if as_json:
                print(json.dumps({"state": row.state, "record": row.record().to_json()}))
            else:
                moment = dt.datetime.fromtimestamp(row.received_seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
                print(f"{row.sha256}  {moment}  {row.state:<8}  {row.node}  {row.rule}  {row.source}")


@examples.command()
def delete(
    sha256: Annotated[str, typer.Argument(metavar="SHA256", help="Digest of the picture.")], data_dir: DataDir
) -> None:
    """Delete an example that no data set uses, with its picture.

    `helmet-cloud examples delete "$SHA256" --data-dir hub`
    """
    from helmet_cloud.examples.housekeeping import Housekeeping  # noqa: PLC0415 - as above
    from helmet_cloud.examples.pictures import PictureFolder  # noqa: PLC0415 - as above

    with opened(data_dir) as (home, database):
        Housekeeping(database, PictureFolder(home.pictures), home.settings.retention_days).delete(sha256)
    print(f"{sha256}: deleted")


def _rows(database: Database, state: str | None, node: str | None, rule: str | None) -> Iterator[ExampleRow]:
    from helmet_cloud.store.examples import list_examples  # noqa: PLC0415 - as above

    after = 0
    while True:
        with database.read() as session:
            rows = list_examples(session, state=state, node=node, rule=rule, after=after, limit=_PAGE)
        yield from rows
        if len(rows) < _PAGE:
            return
        after = rows[-1].id
