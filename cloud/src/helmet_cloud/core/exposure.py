# SPDX-License-Identifier: Apache-2.0
"""How many nodes a model that nobody has tried yet may reach: the size of the canary ring against that of the fleet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CANARY = "canary"
ACTIVE_SECONDS = 7 * 86400.0
"""A node that said nothing for longer does not make the fleet larger; to be without a hub for a week is usual."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Member:
    """One node that is enrolled and not revoked.

    Attributes:
        ring: that it said it follows; before its first report the one that it was enrolled with.
        job: that it said it follows, ``namespace/name``; None: it follows none.
        reported: whether it ever said so; before that it may follow any job.
        at_seconds: when it was last heard, or enrolled; Unix time.
    """

    ring: str
    job: str | None
    reported: bool
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Exposure:
    """Who would take a job's model from the canary ring.

    Attributes:
        canaries: nodes in that ring, also those that were silent for long: they may come back.
        fleet: these, and all others that follow the job and are active.
    """

    canaries: int
    fleet: int

    def excess(self, share: float) -> str:
        """Why that is too many, for people; "" when it is not.

        Args:
            share: of the fleet that the ring may hold, in [0, 1]; one node always may be in it.
        """
        most = allowed(self.fleet, share)
        if self.canaries <= most:
            return ""
        return f"ring canary holds {self.canaries} of {self.fleet} nodes, at most {most} may (canary_share = {share:g})"


def allowed(fleet: int, share: float) -> int:
    """The largest canary ring of a fleet: that share of it, rounded down, but one node at least."""
    return max(1, math.floor(share * fleet + _ROUNDING))


def exposure(members: Iterable[Member], job: str, now: float) -> Exposure:
    """Counts the nodes of a job.

    Args:
        members: every node that is enrolled and not revoked.
        job: ``namespace/name``.
        now: Unix time in seconds.
    """
    ours = [one for one in members if one.job == job or not one.reported]
    canaries = sum(one.ring == CANARY for one in ours)
    others = sum(one.ring != CANARY and now - one.at_seconds <= ACTIVE_SECONDS for one in ours)
    return Exposure(canaries, canaries + others)
