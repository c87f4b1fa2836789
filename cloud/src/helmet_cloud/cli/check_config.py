# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud check-config``: may a hub run with this settings file?"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations when it runs
from typing import Annotated

import typer


def check_config(file: Annotated[Path, typer.Argument(metavar="FILE", help="A hub.toml.")]) -> None:
    """Read a settings file and name everything in it that cannot be right.

    `helmet-cloud check-config hub/hub.toml`
    """
    from helmet_cloud.settings import read_settings  # noqa: PLC0415 - commands load only what they use

    settings = read_settings(file)
    print(f"{file}: good; listens on {settings.listen}, manifests' paths are below {settings.rootfs}")
