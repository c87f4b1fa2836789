# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud models import-sedna``: what a job on a cluster trained goes out to the nodes that follow the hub."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

from helmet_agent.errors import EXIT_FAILED, AgentError
from helmet_cloud.cli.models import Job, Ring, job_named, opened
from helmet_cloud.cli.serve import DataDir  # noqa: TC001 - typer reads the annotations when it runs

if TYPE_CHECKING:
    from helmet_cloud.channel import SignedChannel
    from helmet_cloud.core.trigger import Condition
    from helmet_cloud.ports import JobRef
    from helmet_cloud.store.database import Database


def import_sedna(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT_DIR", help="The job's outputDir, as this machine sees it.")],
    data_dir: DataDir,
    job: Job,
    *,
    condition: Annotated[
        str, typer.Option(help="What must hold of the figures of the new and the old model.")
    ] = "map50_delta > 0",
    guard_recall_drop: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="How far a class's recall may fall on the regression set; 1: no guard."),
    ] = 0.05,
    ring: Ring = "stable",
    watch: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=1.0, help="Stay, and look again so often.")
    ] = None,
) -> None:
    """Publish the newest model that a job on a cluster trained, if our gate lets it pass.

    `helmet-cloud models import-sedna /output --job default/helmet-detection-demo --data-dir hub`
    """
    from helmet_cloud.workers.gate_parameters import read_condition  # noqa: PLC0415 - commands load only what they use

    wanted = job_named(job)
    must = read_condition(condition, "--condition")
    with opened(data_dir) as (_, database, channel):
        said = ""
        while True:
            try:
                passed, line = _look(
                    channel, database, output, wanted, ring=ring, condition=must, drop=guard_recall_drop
                )
            except AgentError as error:
                if watch is None:
                    raise
                passed, line = False, str(error)
            if line != said:
                print(line, flush=True)
                said = line
            if watch is None:
                break
            time.sleep(watch)
    if not passed:
        raise typer.Exit(EXIT_FAILED)


def _look(
    channel: SignedChannel,
    database: Database,
    output: Path,
    job: JobRef,
    *,
    ring: str,
    condition: Condition,
    drop: float,
) -> tuple[bool, str]:
    """One look; whether nothing is wrong with the newest round, and a line about it."""
    from helmet_cloud.channel.sedna_rounds import (  # noqa: PLC0415 - as above
        judge_round,
        newest_round,
        publish_round,
        was_published,
    )

    found = newest_round(output)
    if found is None:
        return True, f"{output}: no round that was trained and evaluated yet"
    short = found.model.sha256[:12]
    if was_published(database, job, ring, found.model.sha256):
        return True, f"round {found.number}: {short} was published before"
    decision = judge_round(found, condition, drop)
    if not decision.accepted:
        return False, f"round {found.number}: {short} {decision.reason}"
    done = publish_round(channel, job, ring, found, decision)
    return True, f"{job} {ring}: release {done.release} is {done.sha256} (round {found.number}; {decision.reason})"
