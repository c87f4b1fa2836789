# SPDX-License-Identifier: Apache-2.0
"""``helmet-cloud doctor``: looks at everything that a hub needs, one line each with what to do.

It changes nothing and may run beside the hub, as the user that the hub runs as.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.diagnosis import FAILED, OK, Diagnosis, Finding
from helmet_agent.errors import AgentError
from helmet_cloud.doctor import fleet, machine, serving, trust
from helmet_cloud.settings import HubHome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Check = Callable[[HubHome, float], Iterator[Finding]]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("clock", machine.clock),
    ("disk", machine.disk),
    ("permissions", machine.permissions),
    ("memory", machine.memory),
    ("database", machine.database),
    ("token", trust.token),
    ("keys", trust.keys),
    ("trust root", trust.trust_root),
    ("channel", trust.channel),
    ("tls", trust.tls),
    ("canary ring", fleet.canary_ring),
    ("hub dns", serving.name),
    ("hub", serving.hub),
)
"""In the order in which they are looked at."""


def diagnose(folder: Path, now: float) -> Diagnosis:
    """Looks at everything; never raises for what it finds.

    Args:
        folder: the hub's, ``--data-dir``.
        now: Unix time in seconds.
    """
    try:
        home = HubHome.load(folder)
    except AgentError as error:
        return Diagnosis(tuple(Finding("config", FAILED, line) for line in str(error).splitlines()))
    findings = [Finding("config", OK, f"{folder}: listens on {home.settings.listen}")]
    for name, check in CHECKS:
        try:
            findings += check(home, now)
        except AgentError as error:
            findings.append(Finding(name, FAILED, str(error)))
        except Exception as error:
            findings.append(Finding(name, FAILED, f"could not be looked at: {error!r}; please report this"))
    return Diagnosis(tuple(findings))


__all__ = ["diagnose"]
