# SPDX-License-Identifier: Apache-2.0
"""Connects the memory governor to what it sheds: preview, mining, frame rate, in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.adapters.memory_reader import MemoryReader
from helmet_agent.services.governor_loop import GovernorLoop
from helmet_agent.status import MemoryStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_agent.api.preview import PreviewDesk
    from helmet_agent.app.composition import Agent
    from helmet_agent.errors import RestartWanted
    from helmet_agent.ports import Clock
    from helmet_agent.services.governor import Decision
    from helmet_agent.services.governor_loop import Reading

LEAST_HYSTERESIS = 0.1
"""Share of the limit that must come free again, below the soft share, before anything is taken back."""


def memory_governor(
    agent: Agent,
    preview: PreviewDesk,
    stop: Callable[[RestartWanted], None],
    clock: Clock,
    read: Callable[[], Reading] | None = None,
) -> GovernorLoop:
    """The loop that watches memory; ``stop`` is called once, at the hard limit; ``read`` is by default this process."""

    def apply(decision: Decision) -> None:
        preview.shed(None if decision.preview else "memory is short; the preview comes back by itself")
        if agent.mining is not None:
            agent.mining.set_shedding(not decision.mining)
        if agent.uplink is not None:
            agent.uplink.set_shedding(not decision.mining)
        agent.ingest.set_frame_divisor(decision.frame_divisor)

    settings = agent.config.memory
    return GovernorLoop(
        read or MemoryReader().read,
        apply,
        stop,
        clock,
        configured_bytes=settings.limit,
        period_seconds=settings.check_seconds,
        soft_fraction=settings.soft_fraction,
        hard_fraction=settings.hard_fraction,
        shed_seconds=settings.shed_seconds,
        recover_seconds=settings.recover_seconds,
        hysteresis_fraction=min(LEAST_HYSTERESIS, settings.soft_fraction / 2),
    )


def memory_status(loop: GovernorLoop) -> MemoryStatus:
    """What the governor last saw and decided, as the outside sees it."""
    decision, pressure = loop.decision, loop.pressure
    shed = (
        ("preview", not decision.preview),
        ("mining", not decision.mining),
        ("frame_rate", decision.frame_divisor > 1),
    )
    return MemoryStatus(
        pressure.used_bytes, pressure.limit_bytes, int(decision.level), tuple(name for name, now in shed if now)
    )
