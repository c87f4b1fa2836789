# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud doctor``: what is wrong with a hub, and what to do."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from helmet_agent.errors import EXIT_FAILED
from helmet_cloud.cli.serve import DataDir  # noqa: TC001 - typer reads the annotations when it runs


def doctor(
    data_dir: DataDir, *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Look at everything a hub needs, one line each with what to do. Works on DIR, beside a running hub too.

    `helmet-cloud doctor --data-dir hub`
    """
    from helmet_agent.logs import configure_logging  # noqa: PLC0415 - commands load only what they use
    from helmet_cloud.doctor import diagnose  # noqa: PLC0415 - as above

    configure_logging("error", "console")
    found = diagnose(data_dir, time.time())
    print(json.dumps(found.to_json()) if as_json else found.text())
    if not found.ok:
        raise typer.Exit(EXIT_FAILED)
