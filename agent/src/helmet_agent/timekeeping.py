# SPDX-License-Identifier: Apache-2.0
"""The port of whoever knows how far the clock can be believed."""

from __future__ import annotations

from typing import Protocol


class Calendar(Protocol):
    """What time it is as far as expiry dates are concerned, where the clock may be wrong."""

    def now(self) -> float:
        """Unix time to hold expiry dates against."""

    def certain(self) -> float:
        """Unix time that has certainly come; earlier than ``now`` where the clock is in doubt."""

    def doubt(self) -> str | None:
        """Why the clock is not believed, one line; None while it is."""

    def vouch(self) -> None:
        """Something signed for a short time was found fresh at ``now``."""
