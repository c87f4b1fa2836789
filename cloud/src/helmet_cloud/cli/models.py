# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud models``: what the hub keeps, what goes out to which ring, and where it came from."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helmet_agent.errors import EXIT_USAGE, UsageError
from helmet_cloud.cli.serve import DataDir  # noqa: TC001 - typer reads the annotations when it runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_cloud.channel import SignedChannel
    from helmet_cloud.ports import JobRef
    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database

SHOWN_DIGITS = 12

models = typer.Typer(
    help="Models: add, publish by hand, promote from canary to stable, list, history, lineage. Works on DIR, beside a "
    "running hub too; a digest may be shortened as long as only one model begins so.",
)

Job = Annotated[str, typer.Option(metavar="NAMESPACE/NAME", help="The job whose nodes are meant.")]
Ring = Annotated[str, typer.Option(metavar="canary|stable", help="Who takes it.")]
Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="sha256 of the int8 file, or its beginning.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@models.callback(invoke_without_command=True)
def _top(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


@models.command()
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="manifest.json and the files that it names.")],
    data_dir: DataDir,
    *,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Its float weights, where FOLDER has no weights.npz; rounds start from them."
        ),
    ] = None,
) -> None:
    """Take a model into the hub without publishing it.

    `helmet-cloud models add trained --data-dir hub`
    """
    with opened(data_dir) as (_, _database, channel):
        kept = channel.add(folder, f"added by hand from {folder.absolute()}", weights or _bundled_weights(folder))
    print(kept.sha256)


@models.command()
def publish(
    digest: Digest,
    data_dir: DataDir,
    job: Job,
    *,
    ring: Ring = "stable",
    hot: Annotated[
        bool | None, typer.Option("--hot/--cold", help="Swap at once, or at the agent's next start. Default: as now.")
    ] = None,
    poll_seconds: Annotated[
        int | None, typer.Option(min=1, max=86400, help="How often nodes look for the next one. Default: as now.")
    ] = None,
    any_canaries: Annotated[
        bool, typer.Option("--any-canaries", help="Even if the canary ring holds more nodes than canary_share lets it.")
    ] = False,
    reason: Annotated[str, typer.Option(help="For the history.")] = "published by hand",
) -> None:
    """Publish a model that the hub keeps. Going back is publishing the old one: its release is a new, higher one.

    `helmet-cloud models publish d654bee7 --job default/helmet-detection-demo --ring canary --data-dir hub`
    """
    from helmet_agent.contract import Delivery  # noqa: PLC0415 - commands load only what they use
    from helmet_cloud.channel.model_folder import open_model  # noqa: PLC0415 - as above
    from helmet_cloud.ports import Publication  # noqa: PLC0415 - as above

    wanted = job_named(job)
    with opened(data_dir) as (home, database, channel):
        folder = home.models / _find(database, digest)
        live = channel.manifest(wanted, ring)
        now = Delivery() if live is None else live.manifest.delivery
        own = open_model(folder, need_weights=False).manifest
        delivery = Delivery(
            str(wanted),
            now.hot_update if hot is None else hot,
            now.poll_seconds if poll_seconds is None else poll_seconds,
        )
        mining = own.mining if live is None else live.manifest.mining
        sent = Publication(wanted, folder, mining, delivery, ring, None, None, {}, reason, any_canaries)
        done = channel.publish(sent)
    print(f"{wanted} {ring}: release {done.release} is {done.sha256}")


@models.command()
def promote(
    data_dir: DataDir, job: Job, *, reason: Annotated[str, typer.Option(help="For the history.")] = "promoted by hand"
) -> None:
    """Publish to the stable ring what the canary ring has.

    `helmet-cloud models promote --job default/helmet-detection-demo --data-dir hub`
    """
    wanted = job_named(job)
    with opened(data_dir) as (_, _database, channel):
        done = channel.promote(wanted, reason)
    print(f"{wanted} stable: release {done.release} is {done.sha256}")


@models.command("list")
def list_models(data_dir: DataDir, *, as_json: AsJson = False) -> None:
    """Show the models that the hub keeps, and where each of them is live."""
    from helmet_cloud.store.models import find_models, publications  # noqa: PLC0415 - as above

    with opened(data_dir) as (_, database, channel), database.read() as session:
        rings = {(row.namespace, row.job, row.ring) for row in publications(session)}
        found = []
        for row in find_models(session):
            live = [
                f"{space}/{job} {ring}"
                for space, job, ring in sorted(rings)
                if _is_live(channel, space, job, ring, row)
            ]
            found.append({**_columns(row), "live": live})
    _print(found, as_json, "{name:<20} {sha256:.12}  {added}  {live}")


@models.command()
def history(
    data_dir: DataDir,
    *,
    job: Annotated[str | None, typer.Option(metavar="NAMESPACE/NAME", help="Only this job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what was live where, from when until when and why, and every step of a rollout; newest first."""
    from helmet_cloud.store.models import publications, with_end  # noqa: PLC0415 - as above
    from helmet_cloud.store.rollouts import rollout_steps  # noqa: PLC0415 - as above

    wanted = None if job is None else job_named(job)
    with opened(data_dir) as (_, database, _channel), database.read() as session:
        found = [{**_columns(row), "until_seconds": end} for row, end in with_end(publications(session, wanted))]
        steps = [_columns(row) for row in rollout_steps(session, wanted)]
    for row in found:
        del row["manifest"]
    for step in steps:
        step |= {"ring": "rollout", "state": step.pop("phase"), "begun_seconds": step.pop("at_seconds")}
    found = sorted(found + steps, key=lambda row: float(row["begun_seconds"]), reverse=True)
    line = "{begun} - {until:<19}  {namespace}/{job} {ring:<7} release {release:<4} {sha256:.12} {state:<10} {reason}"
    _print(found, as_json, line)


@models.command()
def lineage(digest: Digest, data_dir: DataDir, *, as_json: AsJson = False) -> None:
    """Show where a model comes from: job, round, data set, pictures and the nodes that sent them."""
    from helmet_cloud.store.rounds import lineage as trace  # noqa: PLC0415 - as above

    with opened(data_dir) as (_, database, _channel), database.read() as session:
        found = trace(session, _find(database, digest))
    if as_json:
        print(json.dumps(asdict(found)))
        return
    for key, value in asdict(found).items():
        lines = value if isinstance(value, list | tuple) else [value]
        print(f"{key}: {len(lines) if len(lines) > 1 else ''}".rstrip())
        for line in lines:
            print(f"  {json.dumps(line) if isinstance(line, dict) else line}")


@contextlib.contextmanager
def opened(data_dir: Path) -> Iterator[tuple[HubHome, Database, SignedChannel]]:
    """A hub's folder, its database and its channel, beside a running hub too."""
    from helmet_agent.logs import configure_logging  # noqa: PLC0415 - as above
    from helmet_cloud.channel import open_channel  # noqa: PLC0415 - as above
    from helmet_cloud.settings import HubHome  # noqa: PLC0415 - as above
    from helmet_cloud.store.opening import open_database  # noqa: PLC0415 - as above

    configure_logging("warning", "console")
    home = HubHome.load(data_dir)
    database = open_database(home)
    try:
        yield home, database, open_channel(home, database)
    finally:
        database.close()


def _bundled_weights(folder: Path) -> Path | None:
    """The float weights of the model that ships with the agent, which has none beside it."""
    from helmet_agent.contract import ContractError, ModelManifest  # noqa: PLC0415 - as above
    from helmet_cloud.channel.model_folder import WEIGHTS  # noqa: PLC0415 - as above

    if (folder / WEIGHTS).exists():
        return None
    ours = Path(__file__).parents[1] / "assets" / "model"
    with contextlib.suppress(OSError, ContractError):
        from helmet_agent.adapters.litert import bundled_model_dir  # noqa: PLC0415 - as above

        bundled = ModelManifest.from_bytes((bundled_model_dir() / "manifest.json").read_bytes()).model
        if ModelManifest.from_bytes((folder / "manifest.json").read_bytes()).model == bundled:
            return ours / WEIGHTS
    return None


def _find(database: Database, digest: str) -> str:
    from helmet_cloud.store.models import find_models  # noqa: PLC0415 - as above

    with database.read() as session:
        found = [row.sha256 for row in find_models(session, digest.lower())]
    if len(found) != 1:
        many = f"{len(found)} models begin" if found else "no model begins"
        raise UsageError(f"{many} with {digest!r}; `helmet-cloud models list` shows them all")
    return found[0]


def job_named(text: str) -> JobRef:
    """The job of an option.

    Raises:
        UsageError: it is none.
    """
    from helmet_cloud.ports import JobRef  # noqa: PLC0415 - as above

    namespace, slash, name = text.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise UsageError(f"--job: expected NAMESPACE/NAME, found {text!r}")
    return JobRef(namespace, name)


def _is_live(channel: SignedChannel, namespace: str, job: str, ring: str, row: Any) -> bool:
    from helmet_cloud.ports import JobRef  # noqa: PLC0415 - as above

    live = channel.live(JobRef(namespace, job), ring)
    return live is not None and live.sha256 == row.sha256


def _columns(row: Any) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}


def _print(rows: list[dict[str, Any]], as_json: bool, line: str) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        shown = {key: _shown(value) for key, value in row.items()}
        shown["until"] = "now" if row.get("state") == "published" else ""
        for key in ("added", "begun", "until"):
            if row.get(f"{key}_seconds") is not None:
                shown[key] = dt.datetime.fromtimestamp(row[f"{key}_seconds"], dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
        print(line.format(**shown))


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
