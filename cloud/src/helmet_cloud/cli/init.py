# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud init``: a folder with everything a hub needs."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer

NEXT = """\
Next:
  1. helmet-cloud serve --data-dir {folder}
  2. KUBECONFIG={folder}/kubeconfig kubectl get incrementallearningjobs
  3. give every node {folder}/root.json (whom to trust for models) and {folder}/tls/ca.crt (whom to trust for TLS)
  4. take {offline} away to a safe place: only `helmet-cloud channel rotate|resign root` needs it
The hub will be at {url}. {folder}/kubeconfig and {folder}/tokens/admin.token open everything: keep them."""


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
    *,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS:PORT", help="Where to listen; 127.0.0.1:8443 if not given.")
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="How nodes and kubectl reach the hub; made from --listen if not given."),
    ] = None,
    hostname: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="One more name or address for the certificate. May be repeated."),
    ] = None,
    rootfs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that the absolute paths of manifests are below; / if not given."),
    ] = None,
) -> None:
    """Make a hub: settings, certificates, signing keys, an administrator's token and a kubeconfig.

    It can be run again: what is there stays as it is, what is missing is made. Works on DIR; no hub need run.

    `helmet-cloud init hub --listen 0.0.0.0:8443 --public-url https://hub.example:8443`
    """
    from helmet_cloud.setup import InitOptions, initialise  # noqa: PLC0415 - commands load only what they use

    options = InitOptions(listen, public_url, tuple(hostname or ()), rootfs)
    report = initialise(folder, options, time.time)
    print(f"{folder}: {'ready' if report.new else 'was a hub already; nothing was changed'}")
    if report.new:
        print(NEXT.format(folder=folder, offline=report.home.offline_keys, url=report.url))
