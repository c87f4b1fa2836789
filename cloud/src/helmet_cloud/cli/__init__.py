# SPDX-License-Identifier: Apache-2.0
"""The command line of the cloud half. Each command imports what it needs when it runs; TensorFlow only to train."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from helmet_agent.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE, AgentError
from helmet_cloud.cli.backup import backup, restore
from helmet_cloud.cli.channel import channel
from helmet_cloud.cli.channel_root import new_root, publish_root, root_key, sign_root
from helmet_cloud.cli.check_config import check_config
from helmet_cloud.cli.doctor import doctor
from helmet_cloud.cli.evaluate import evaluate
from helmet_cloud.cli.examples import examples
from helmet_cloud.cli.init import init
from helmet_cloud.cli.jobs import jobs
from helmet_cloud.cli.labels import labels
from helmet_cloud.cli.models import models
from helmet_cloud.cli.nodes import nodes
from helmet_cloud.cli.sedna_rounds import import_sedna
from helmet_cloud.cli.serve import serve
from helmet_cloud.cli.training import export, train
from helmet_cloud.cli.version import version

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130

app = typer.Typer(
    help="The cloud half of helmet detection: labels, training, evaluation.",
    epilog="Exit codes: 0 ok; 1 failed, or something was left out; 2 bad usage.",
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(labels, name="labels")
models.command("import-sedna")(import_sedna)
app.add_typer(models, name="models")
app.add_typer(nodes, name="nodes")
app.add_typer(examples, name="examples")
app.add_typer(jobs, name="jobs")
for command in (root_key, new_root, sign_root, publish_root):
    channel.command()(command)
app.add_typer(channel, name="channel")
app.command()(init)
app.command()(serve)
app.command()(check_config)
app.command()(doctor)
app.command()(backup)
app.command()(restore)
app.command()(evaluate)
app.command()(train)
app.command()(export)
app.command()(version)


@app.callback(invoke_without_command=True)
def _top(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. Errors meant for people are one line on standard error."""
    try:
        code = app(None if arguments is None else list(arguments), prog_name="helmet-cloud", standalone_mode=False)
    except AgentError as error:
        print(f"helmet-cloud: {error}", file=sys.stderr)
        return error.exit_code
    except typer.TyperException as error:
        print(f"helmet-cloud: {' '.join(error.format_message().split())} (see --help)", file=sys.stderr)
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        print("helmet-cloud: stopped by the keyboard", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code if isinstance(code, int) else EXIT_OK


__all__ = ["app", "main"]
