# SPDX-License-Identifier: Apache-2.0
"""The file in which Sedna's local controller announces a model.

``{"model_config": {"model_path": "/model-hot-update/x", "model_update_time": "2025-01-01 10:00:00.1 +0000 UTC"}}``; the
time is the version. The controller (kubeedge/sedna 2c30e569, pkg/localcontroller/managers/incrementallearning) rewrites
the file in place, so a reader may find it empty or cut off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from helmet_agent.errors import UpdateError

MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the controller says.

    Attributes:
        version: its time, a text without meaning; another text is another model.
        path: where the model lies in this container.
    """

    version: str
    path: Path


class UnfinishedError(UpdateError):
    """The file is no announcement: cut off, or just being written."""


def read_announcement(file: Path) -> Announcement | None:
    """What is announced now; None when nothing ever was.

    Raises:
        UnfinishedError: the file is no announcement. UpdateError: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UpdateError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        found = json.loads(content)["model_config"]
        version, path = found["model_update_time"], found["model_path"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UnfinishedError(f"{file}: no announcement of a model: {error or type(error).__name__}") from error
    if not (isinstance(version, str) and version and isinstance(path, str) and path.startswith("/")):
        raise UnfinishedError(f"{file}: no announcement of a model: expected model_path and model_update_time")
    return Announcement(version, Path(path))
