# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud version``."""

from __future__ import annotations

import importlib.util
import json
import platform
from typing import Annotated

import typer

import helmet_agent
import helmet_cloud


def version(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show the version, and whether training is installed."""
    can_train = importlib.util.find_spec("tensorflow") is not None
    if as_json:
        about = {
            "version": helmet_cloud.__version__,
            "agent": helmet_agent.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "training": can_train,
        }
        print(json.dumps(about))
    else:
        print(f"helmet-cloud {helmet_cloud.__version__}, {'with' if can_train else 'without'} training")
