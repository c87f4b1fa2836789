# SPDX-License-Identifier: Apache-2.0
"""What the updater works with: the model that serves, and what the configuration says about new ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_agent.services.probation import Opinion, Vitals


class LiveModel(Protocol):
    """The model that serves; see ``app.live_model``."""

    def load(self, folder: Path) -> None:
        """Gets another model ready beside the one that serves.

        Raises:
            ModelError, ConfigError: it cannot serve here.
        """

    def swap(self) -> None:
        """Lets the one that is ready serve from the next frame on; the one before it stays loaded."""

    def keep(self, folder: Path) -> None:
        """Loads the model to go back to, where none is loaded.

        Raises:
            ModelError, ConfigError: it cannot serve here.
        """

    def back(self) -> bool:
        """Lets the one before serve again; False when it was let go. From any thread."""

    def settle(self) -> None:
        """Lets go of the one before."""

    def vitals(self) -> Vitals:
        """The pipeline's totals."""

    def opinion(self) -> Opinion | None:
        """What the one before makes of the latest frame; None when there is no such model or new frame.

        Raises:
            ModelError: it fails.
        """

    def golden_problems(self) -> Sequence[str]:
        """What is wrong with what the serving model makes of its golden frames now; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class UpdateRules:
    """What the configuration says.

    Attributes:
        job: whose releases are followed.
        probation_seconds, probation_frames: both must go by before a model is confirmed.
        max_latency_ratio: slower than the model before it by more than this factor is too slow.
        cold: no agent is running: a new model waits for its next start, whatever the manifest says.
    """

    job: str
    probation_seconds: float = 60.0
    probation_frames: int = 100
    max_latency_ratio: float = 1.5
    cold: bool = False
