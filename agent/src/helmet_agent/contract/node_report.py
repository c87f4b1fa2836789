# SPDX-License-Identifier: Apache-2.0
"""What a node tells the hub about itself: which model serves, how it is, what it refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from helmet_agent.contract.fields import Fields

SCHEMA = 1
_MANY = 1 << 53
MODEL_STATES = ("idle", "downloading", "probing", "probation", "confirmed", "waiting_restart")
"""What the node's updater is doing: nothing yet, fetching, trying, watching a new model, content, holding
a cold one."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A model that the node will not try again until an operator says so."""

    sha256: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {"sha256": self.sha256, "reason": self.reason}

    @classmethod
    def from_fields(cls, fields: Fields) -> Quarantined:
        """Reads the wire form."""
        found = cls(fields.sha256("sha256"), fields.text("reason"))
        fields.done()
        return found


@dataclass(frozen=True, slots=True)
class NodeReport:
    """The body of ``POST /v1/nodes/{name}/report``.

    Attributes:
        node: its name, the one in the path.
        version: of the agent.
        sent_seconds: the node's Unix time; its clock may be wrong.
        job: the job it follows, ``namespace/name``; None when it follows none.
        ring: the ring it belongs to.
        model: sha256 of the serving model file.
        release: of the serving manifest.
        state: one of ``MODEL_STATES``.
        healthy: whether every part does its work.
        problems: one line each.
        rates: figures by name: frames_per_second, inference_ms, examples_pending, spool_bytes, memory_bytes, ...
        quarantined: models it refused, newest first.
    """

    node: str
    version: str
    sent_seconds: float
    job: str | None
    ring: str
    model: str
    release: int
    state: str
    healthy: bool
    problems: tuple[str, ...] = ()
    rates: dict[str, float] = field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {
            "schema": SCHEMA,
            "node": self.node,
            "version": self.version,
            "sent_seconds": self.sent_seconds,
            "job": self.job,
            "ring": self.ring,
            "model": self.model,
            "release": self.release,
            "state": self.state,
            "healthy": self.healthy,
            "problems": list(self.problems),
            "rates": dict(self.rates),
            "quarantined": [one.to_json() for one in self.quarantined],
        }

    @classmethod
    def from_json(cls, document: object) -> NodeReport:
        """Reads the wire form.

        Raises:
            ContractError: a field is missing, unknown or cannot be right.
        """
        fields = Fields(document)
        fields.integer("schema", SCHEMA, SCHEMA)
        rates = fields.child("rates")
        found = cls(
            node=fields.name("node"),
            version=fields.text("version"),
            sent_seconds=fields.number("sent_seconds", -_MANY, _MANY),
            job=fields.text("job") if fields.has("job") else None,
            ring=fields.name("ring"),
            model=fields.sha256("model"),
            release=fields.integer("release", 0, _MANY),
            state=fields.text("state"),
            healthy=fields.flag("healthy"),
            problems=fields.texts("problems"),
            rates={key: rates.number(key, -_MANY, _MANY) for key in fields.mapping("rates")},
            quarantined=fields.objects("quarantined", Quarantined.from_fields),
        )
        fields.done()
        if found.state not in MODEL_STATES:
            raise fields.fail("state", f"one of {', '.join(MODEL_STATES)}")
        return found
