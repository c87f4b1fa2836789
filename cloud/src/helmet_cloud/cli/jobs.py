# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud jobs``: manifests, before anybody sends them to a hub or a cluster."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from helmet_agent.errors import UsageError

if TYPE_CHECKING:
    from helmet_cloud.resources.reading import Reading

MAX_FILE_BYTES = 3 << 20

jobs = typer.Typer(help="Data sets, models and jobs, as Kubernetes manifests.", no_args_is_help=True)


@jobs.callback()
def _jobs() -> None:
    """Keeps ``lint`` a command of its own while it is the only one."""


@jobs.command()
def lint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Manifest in YAML or JSON; '-' reads standard input.")],
    *,
    zone: Annotated[str, typer.Option(metavar="ZONE", help="Time zone of the hub that it is meant for.")] = "UTC",
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings, too.")] = False,
) -> None:
    """Check a manifest without a hub: every fault with the path of its field, and where a cluster would misread it.

    The file is read as Ansible reads it, so that an unquoted 20:00 is the number 1200. Exit codes: 0 it can be sent;
    1 it cannot (or, with `--strict`, it draws warnings); 2 there is no such file.

    `helmet-cloud jobs lint demo/job.yaml`
    """
    from helmet_cloud.errors import BadRequest  # noqa: PLC0415 - commands load only what they use
    from helmet_cloud.resources.reading import read_yaml_stream  # noqa: PLC0415 - as above

    name = "standard input" if str(file) == "-" else str(file)
    try:
        readings = read_yaml_stream(_content(file))
    except BadRequest as error:
        _fail(f"{name}: {error}")
    if not readings:
        _fail(f"{name}: holds no manifest")
    warned = failed = 0
    for reading in readings:
        place = f"{name}:{reading.line}"
        title, problems, warnings = _checked(reading, zone)
        for line in problems:
            print(f"{place}: {title}: {line}", file=sys.stderr)
        for line in warnings:
            print(f"{place}: {title}: warning: {line}", file=sys.stderr)
        if not problems:
            print(f"{place}: {title}: can be sent")
        failed += len(problems)
        warned += len(warnings)
    if failed or (strict and warned):
        _fail(f"{failed} faults, {warned} warnings")


def _checked(reading: Reading, zone: str) -> tuple[str, list[str], list[str]]:
    """Title, faults and warnings of one document."""
    from helmet_cloud.errors import HubError  # noqa: PLC0415 - commands load only what they use
    from helmet_cloud.resources.admission import admit  # noqa: PLC0415 - as above
    from helmet_cloud.resources.kinds import SEDNA_KINDS  # noqa: PLC0415 - as above
    from helmet_cloud.resources.problems import Invalid, not_supported, shown  # noqa: PLC0415 - as above

    document: Any = reading.value if isinstance(reading.value, dict) else {}
    kinds = {kind.name: kind for kind in SEDNA_KINDS}
    meta = document.get("metadata")
    name = meta.get("name", "") if isinstance(meta, dict) else ""
    title = f"{shown(document.get('kind'))} {shown(name)}".replace('"', "")
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        return title, [str(not_supported("kind", kind, kinds))], []
    try:
        admitted = admit(kinds[kind], document, hub_zone=zone, duplicates=reading.duplicates)
    except Invalid as error:
        return title, [str(each) for each in error.problems], []
    except HubError as error:
        return title, [str(error)], []
    return title, [], list(admitted.warnings)


def _content(file: Path) -> bytes:
    try:
        if str(file) == "-":
            body = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with file.open("rb") as opened:
                body = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None
    if len(body) > MAX_FILE_BYTES:
        raise UsageError(f"{file}: more than {MAX_FILE_BYTES} bytes; no manifest is so large")
    return body


def _fail(line: str) -> NoReturn:
    print(f"helmet-cloud: {line}", file=sys.stderr)
    raise typer.Exit(1)
