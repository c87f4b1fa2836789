# SPDX-License-Identifier: Apache-2.0
"""What Sedna's hot update needs to know: where new models are announced, and who is told what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_LC_SERVER = "http://localhost:9100"


class UnfitVariable(ValueError):  # noqa: N818 - says what the variable is
    """A variable cannot be right; the message says what was expected.

    Attributes:
        name: of the variable.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class HotUpdates:
    """What a hot update needs to know.

    Attributes:
        announcement: the file in which Sedna announces a new model; never None once made.
        poll_seconds: how often to look at it.
        namespace, job_name, worker: who reports.
        lc_server: Sedna's local controller.

    Raises:
        UnfitVariable: one of them is missing or cannot be right.
    """

    announcement: Path | None
    poll_seconds: int
    namespace: str
    job_name: str
    worker: str
    lc_server: str

    def __post_init__(self) -> None:
        if self.announcement is None:
            raise UnfitVariable("MODEL_HOT_UPDATE_CONFIG", "expected the file that announces new models, found nothing")
        if not self.job_name:
            raise UnfitVariable("JOB_NAME", "expected the job's name, since MODEL_HOT_UPDATE is true, found nothing")
        parts = urlsplit(self.lc_server)
        if parts.scheme != "http" or not parts.hostname or parts.username is not None:
            raise UnfitVariable("LC_SERVER", f"expected an http address such as {DEFAULT_LC_SERVER}")

    @property
    def job(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.job_name}"

    @property
    def config_file(self) -> Path:
        """The announcement."""
        assert self.announcement is not None  # noqa: S101 - __post_init__ refuses it
        return self.announcement
