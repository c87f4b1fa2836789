# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud backup`` and ``restore``."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The hub's folder; the hub may run.")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write; must not be there.")],
) -> None:
    """Write everything of a hub into one file: database, pictures, models, channel, online keys, certificates, tokens.

    The file is readable by its owner only: it holds keys. Left out are offline-keys/ (the root key belongs elsewhere)
    and the scratch of running workers. Files of Datasets lie outside of DIR and are not in it.

    `helmet-cloud backup hub hub-backup.tar`
    """
    from helmet_cloud.backup import backup as save  # noqa: PLC0415 - commands load only what they use

    done = save(folder, target, time.time())
    gone = f"; {done.dropped} pictures were deleted meanwhile" if done.dropped else ""
    print(f"wrote {target}: {done.files} files, {done.size_bytes} bytes{gone}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The archive.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty folder, or one that is not there.")],
) -> None:
    """Make a hub's folder of a backup, every file verified; all of it or nothing.

    `helmet-cloud restore hub-backup.tar hub`
    """
    from helmet_cloud.backup import restore as load  # noqa: PLC0415 - as above

    print(f"restored {folder}: {load(source, folder)} files")
