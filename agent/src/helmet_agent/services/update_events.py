# SPDX-License-Identifier: Apache-2.0
"""What can happen to a new model: the lines of the updater's journal. Pure; standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from helmet_agent.contract.fields import Fields

_MANY = 1 << 53


class Kind(StrEnum):
    """What can happen. The values stand in the journal for ever."""

    OFFERED = "offered"
    DOWNLOADING = "downloading"
    VERIFIED = "verified"
    INSTALLED = "installed"
    PROBING = "probing"
    INTERRUPTED = "interrupted"
    WAITING = "waiting"
    LIVE = "live"
    STOPPED = "stopped"
    CONFIRMED = "confirmed"
    RETURNED = "returned"
    QUARANTINED = "quarantined"
    DROPPED = "dropped"
    ROLLED_BACK = "rolled_back"
    UNQUARANTINED = "unquarantined"
    ADOPTED = "adopted"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A manifest and its model.

    Attributes:
        key: sha256 of the manifest file: names the manifest, and through it all that belongs to it.
        sha256: of the model file; what people and the hub call the model.
        release: the manifest's.
        job: the job whose releases are counted; empty for a model that comes with the agent or its configuration.
        name: for people.
    """

    key: str
    sha256: str
    release: int
    job: str = ""
    name: str = ""

    def to_json(self) -> dict[str, Any]:
        """The journal's form."""
        found: dict[str, Any] = {"key": self.key, "sha256": self.sha256, "release": self.release}
        return found | {name: text for name, text in (("job", self.job), ("name", self.name)) if text}

    @classmethod
    def from_fields(cls, fields: Fields) -> ModelRef:
        """Reads the journal's form.

        Raises:
            ContractError: a field is missing or cannot be right.
        """
        return cls(
            fields.sha256("key"),
            fields.sha256("sha256"),
            fields.integer("release", 0, _MANY),
            fields.text("job") if fields.has("job") else "",
            fields.text("name") if fields.has("name") else "",
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal.

    Attributes:
        kind: what happened, or is about to.
        time_seconds: Unix time.
        model: the model it is about, where it is not the candidate.
        reason: for people.
        digest: of ``unquarantined``.
    """

    kind: Kind
    time_seconds: float
    model: ModelRef | None = None
    reason: str = ""
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """The journal's form."""
        found: dict[str, Any] = {"event": self.kind.value, "time": self.time_seconds}
        if self.model is not None:
            found["model"] = self.model.to_json()
        return found | {name: text for name, text in (("reason", self.reason), ("digest", self.digest)) if text}

    @classmethod
    def from_json(cls, document: object) -> Event:
        """Reads the journal's form.

        Raises:
            ContractError: it is no event.
        """
        fields = Fields(document)
        kind = fields.text("event")
        if kind not in set(Kind):
            raise fields.fail("event", "a known event")
        return cls(
            Kind(kind),
            fields.number("time", -_MANY, _MANY),
            ModelRef.from_fields(fields.child("model")) if fields.has("model") else None,
            fields.text("reason") if fields.has("reason") else "",
            fields.text("digest") if fields.has("digest") else "",
        )
