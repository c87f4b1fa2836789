# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud channel``: keys and signatures of the model channel."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from helmet_agent.errors import EXIT_USAGE
from helmet_cloud.cli.serve import DataDir  # noqa: TC001 - typer reads the annotations when it runs

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_cloud.channel import Repository
    from helmet_cloud.settings import HubHome

channel = typer.Typer(
    help="The signed model channel: when its signatures expire, new signatures, new keys. Works on DIR, beside a "
    "running hub too. What each role is for: docs/channel.md.",
)

Role = Annotated[str, typer.Argument(metavar="ROLE", help="root, targets, snapshot or timestamp.")]


@channel.callback(invoke_without_command=True)
def _top(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


@channel.command()
def status(
    data_dir: DataDir, *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show each role's version and when its signatures expire."""
    _, repository = open_files(data_dir)
    state = repository.state()
    expires = state.expires()
    versions = {role: getattr(state, role).signed.version for role in expires}
    if as_json:
        print(json.dumps({role: {"version": versions[role], "expires_seconds": expires[role]} for role in expires}))
        return
    root = state.root.signed.roles["root"]
    for role, moment in expires.items():
        shown = dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
        left = (moment - time.time()) / 86400
        keys = f", {root.threshold} of {len(root.keyids)} keys sign" if role == "root" else ""
        print(f"{role:<10} version {versions[role]:<6} expires {shown} ({left:.1f} days left){keys}")
    tell_waiting(repository)


@channel.command()
def rotate(role: Role, data_dir: DataDir) -> None:
    """Give a role a new key; nodes follow by themselves. Needs the root key in DIR/offline-keys.

    A root of several keys is left in DIR/next-root.json for those who sign it: `sign-root`, `publish-root`.

    `helmet-cloud channel rotate timestamp --data-dir hub`
    """
    from helmet_cloud.channel import channel_lock  # noqa: PLC0415 - commands load only what they use
    from helmet_cloud.channel.rotation import rotate as turn  # noqa: PLC0415 - as above

    home, repository = open_files(data_dir)
    key_id = turn(repository, channel_lock(home), role)
    if tell_waiting(repository):
        return
    provide_root(home, repository)
    print(f"{role}: new key {key_id}; the old one is no longer trusted and was removed")


@channel.command()
def resign(
    role: Role,
    data_dir: DataDir,
    *,
    skip: Annotated[
        int,
        typer.Option(min=0, max=1_000_000, help="Version numbers to leave out, after a restore from an old backup."),
    ] = 0,
) -> None:
    """Sign a role's metadata again; `targets` signs all but root, which needs DIR/offline-keys.

    The serving hub does it by itself for all but root, in time.

    `helmet-cloud channel resign root --data-dir hub`
    """
    from helmet_cloud.channel import channel_lock  # noqa: PLC0415 - as above
    from helmet_cloud.channel.rotation import resign as sign  # noqa: PLC0415 - as above

    home, repository = open_files(data_dir)
    sign(repository, channel_lock(home), role, skip)
    if role == "root" and tell_waiting(repository):
        return
    provide_root(home, repository)
    version = getattr(repository.state(), role).signed.version
    print(f"{role}: signed again as version {version}")


def open_files(data_dir: Path) -> tuple[HubHome, Repository]:
    """A hub's folder and its channel's files."""
    from helmet_cloud.channel import open_repository  # noqa: PLC0415 - as above
    from helmet_cloud.settings import HubHome  # noqa: PLC0415 - as above

    home = HubHome.load(data_dir)
    return home, open_repository(home)


def tell_waiting(repository: Repository) -> bool:
    """Says what a next root waits for; False when none waits."""
    from helmet_cloud.channel.next_root import waiting  # noqa: PLC0415 - as above

    said = waiting(repository)
    if said:
        print(said)
    return bool(said)


def provide_root(home: HubHome, repository: Repository) -> None:
    """Nodes that join from now on begin with the newest root."""
    from helmet_agent.durable import write_atomic  # noqa: PLC0415 - as above

    version = repository.root().signed.version
    content = (repository.metadata / f"{version}.root.json").read_bytes()
    write_atomic(home.folder / "root.json", content, mode=0o644)
