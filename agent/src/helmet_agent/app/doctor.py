# SPDX-License-Identifier: Apache-2.0
"""``helmet-agent doctor``: looks at everything that the agent needs on this machine, one line each with what to do.

It changes nothing and may run beside the agent, as the user that the agent runs as.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helmet_agent.app.settings import settings_from_file
from helmet_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from helmet_agent.config import AgentConfig

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"


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

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {"ok": self.ok, "findings": [finding.to_json() for finding in self.findings]}

    def text(self) -> str:
        """For people: one line each."""
        return "\n".join(f"{finding.state:8} {finding.part:14} {finding.text}" for finding in self.findings)


def diagnose(config_file: Path, *, cameras: bool = True) -> Diagnosis:
    """Looks at everything; never raises for what it finds.

    Args:
        config_file: the agent's configuration.
        cameras: whether sources are opened; a camera may allow only one reader.
    """
    try:
        config = settings_from_file(config_file)
    except AgentError as error:
        # The configuration's own messages name the file, the key and what was expected.
        lines = str(error).splitlines()
        return Diagnosis(tuple(Finding("config", FAILED, line) for line in lines))
    findings = [Finding("config", OK, f"{config_file}: node {config.node.name}, {len(config.sources)} sources")]
    for check in _checks(cameras=cameras):
        findings.extend(_guarded(check, config))
    return Diagnosis(tuple(findings))


def _checks(*, cameras: bool) -> list[Callable[[AgentConfig], Iterator[Finding]]]:
    from helmet_agent.app import doctor_hub, doctor_node  # noqa: PLC0415 - they load what the agent loads

    checks = [doctor_node.permissions, doctor_node.disk, doctor_node.memory, doctor_node.model]
    if cameras:
        checks.append(doctor_node.sources)
    return [*checks, doctor_hub.token, doctor_hub.authority, doctor_hub.line_and_clock]


def _guarded(check: Callable[[AgentConfig], Iterator[Finding]], config: AgentConfig) -> Iterator[Finding]:
    """The check's findings; a check that breaks is a finding, the others go on."""
    try:
        yield from check(config)
    except Exception as error:
        name = check.__name__.replace("_", " ")
        yield Finding(name, FAILED, f"could not be looked at: {error!r}; please report this")
