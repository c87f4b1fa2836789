# SPDX-License-Identifier: Apache-2.0
"""Where the regression set lies: pictures that guard old knowledge and that no round trains on."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helmet_cloud.settings import HubHome


def regression_file(home: HubHome) -> str | None:
    """The Sedna txt file of the settings, else the one that ships with the hub, else None."""
    if home.settings.regression_set is not None:
        return str(home.settings.regression_set)
    shipped = Path(str(resources.files("helmet_cloud"))) / "assets" / "regression" / "data.txt"
    return str(shipped) if shipped.is_file() else None
