# SPDX-License-Identifier: Apache-2.0
"""``helmet-agent doctor``: looks at everything that the agent needs on this machine, one line each with what to do.

It changes nothing and may run beside the agent, as the user that the agent runs as.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.app.settings import settings_from_file
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.diagnosis import FAILED, OK, SKIPPED, WARNING, Diagnosis, Finding
from helmet_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from helmet_agent.config import AgentConfig
    from helmet_agent.ports import Clock

    Check = Callable[[AgentConfig], Iterator[Finding]]


def diagnose(config_file: Path, *, cameras: bool = True, clock: Clock | None = None) -> Diagnosis:
    """Looks at everything; never raises for what it finds.

    Args:
        config_file: the agent's configuration.
        cameras: whether sources are opened; a camera may allow only one reader.
        clock: the machine's own by default.
    """
    try:
        config = settings_from_file(config_file)
    except AgentError as error:
        # The configuration's own messages name the file, the key and what was expected.
        lines = str(error).splitlines()
        return Diagnosis(tuple(Finding("config", FAILED, line) for line in lines))
    findings = [Finding("config", OK, f"{config_file}: node {config.node.name}, {len(config.sources)} sources")]
    for name, check in _checks(clock or SystemClock(), cameras=cameras):
        findings.extend(_guarded(name, check, config))
    return Diagnosis(tuple(findings))


def _checks(clock: Clock, *, cameras: bool) -> list[tuple[str, Check]]:
    from helmet_agent.app import doctor_hub, doctor_node, doctor_updates  # noqa: PLC0415 - they load what the agent loads

    checks: list[tuple[str, Check]] = [
        ("permissions", doctor_node.permissions),
        ("disk", doctor_node.disk),
        ("memory", doctor_node.memory),
        ("model", doctor_node.model),
    ]
    if cameras:
        checks.append(("sources", doctor_node.sources))
    return [
        *checks,
        ("token", doctor_hub.token),
        ("ca", doctor_hub.authority),
        ("hub", lambda config: doctor_hub.line_and_clock(config, clock)),
        ("trust root", doctor_updates.trust_root),
        ("release", lambda config: doctor_updates.release(config, clock)),
    ]


def _guarded(name: str, check: Check, config: AgentConfig) -> Iterator[Finding]:
    """The check's findings; a check that breaks is a finding, the others go on."""
    try:
        yield from check(config)
    except Exception as error:
        yield Finding(name, FAILED, f"could not be looked at: {error!r}; please report this")


__all__ = ["FAILED", "OK", "SKIPPED", "WARNING", "Diagnosis", "Finding", "diagnose"]
