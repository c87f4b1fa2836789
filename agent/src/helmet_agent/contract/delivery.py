# SPDX-License-Identifier: Apache-2.0
"""How a model reaches the nodes that follow its job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helmet_agent.contract.fields import Fields


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the model reaches the nodes that follow its job.

    Attributes:
        job: ``namespace/name`` of the incremental-learning job that it comes from; None for one published by hand.
        hot_update: swapped in as soon as it is there; False: taken at the agent's next start, as in Sedna.
        poll_seconds: how often nodes look for its successor, Sedna's ``pollPeriodSeconds``.
    """

    job: str | None = None
    hot_update: bool = True
    poll_seconds: int = 60

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {"job": self.job, "hot_update": self.hot_update, "poll_seconds": self.poll_seconds}

    @classmethod
    def from_fields(cls, fields: Fields) -> Delivery:
        """Reads the wire form."""
        found = cls(
            fields.text("job") if fields.has("job") else None,
            fields.flag("hot_update", default=True),
            fields.integer("poll_seconds", 1, 1 << 31, 60),
        )
        fields.done()
        return found
