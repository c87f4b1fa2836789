# SPDX-License-Identifier: Apache-2.0
"""What a doctor finds, on a node and on the hub. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"

_ROOTS = ("clock", "disk", "permissions")
"""Parts that spoil others: with a wrong clock no certificate is valid, with a full disk nothing can be kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        part: what was looked at, such as ``disk`` or ``hub tls``.
        state: ``ok``, ``warning``, ``failed`` or ``skipped``.
        text: what was found; for what is not ok, also what to do.
    """

    part: str
    state: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {"part": self.part, "state": self.state, "text": self.text}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, in the order in which they were made."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; warnings do not count."""
        return all(finding.state != FAILED for finding in self.findings)

    @property
    def cause(self) -> Finding | None:
        """What to mend first: what spoils others before what is looked at later, failures before warnings."""
        for state in (FAILED, WARNING):
            found = [finding for finding in self.findings if finding.state == state]
            if found:
                return min(found, key=_rank)
        return None

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        cause = None if self.cause is None else self.cause.to_json()
        return {"ok": self.ok, "cause": cause, "findings": [finding.to_json() for finding in self.findings]}

    def text(self) -> str:
        """For people: one line each, and at the end what to mend first."""
        lines = [f"{finding.state:8} {finding.part:14} {finding.text}" for finding in self.findings]
        if self.cause is not None:
            lines += ["", f"mend first: {self.cause.part}: {self.cause.text}"]
        return "\n".join(lines)


def _rank(finding: Finding) -> int:
    return _ROOTS.index(finding.part) if finding.part in _ROOTS else len(_ROOTS)
