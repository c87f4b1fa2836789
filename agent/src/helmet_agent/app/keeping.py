# SPDX-License-Identifier: Apache-2.0
"""Hard examples: which rules choose them and where they are kept, from the configuration and the manifest."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from helmet_agent.contract import ContractError, MiningRule
from helmet_agent.errors import ConfigError
from helmet_agent.services.mining import MiningStage
from helmet_agent.vision.mining import HourlyBudget, NearDuplicates, RuleBudgets, create, rules_for

if TYPE_CHECKING:
    from helmet_agent.config import AgentConfig
    from helmet_agent.contract import HardExample, ModelManifest
    from helmet_agent.ports import Clock, ExampleSink
    from helmet_agent.vision.mining import Rule


class SpoolAndFolder:
    """Keeps examples in the spool and in the folder that people look into (``HE_SAVED_URL``); an ``ExampleSink``.

    The spool comes first: it is what a restart and the hub rely on.
    """

    def __init__(self, spool: ExampleSink, folder: ExampleSink) -> None:
        self._spool = spool
        self._folder = folder

    def put(self, example: HardExample) -> bool:
        """True when the spool did not have it yet.

        Raises:
            StorageError: one of the two could not keep it.
        """
        new = self._spool.put(example)
        self._folder.put(example)
        return new


def mining_rules(config: AgentConfig, manifest: ModelManifest) -> tuple[Rule, ...]:
    """The rules in the order of precedence: the configuration's (or all of our own), then the manifest's.

    Raises:
        ConfigError: a rule or one of its parameters is unknown or cannot be right.
    """
    draw = random.SystemRandom().random
    own = [MiningRule(rule.name, dict(rule.parameters)) for rule in config.mining.rules] or None
    try:
        if config.mining.follow_manifest:
            return rules_for(manifest.mining, draw, own)
        return tuple(create(rule, draw) for rule in own or ())
    except ContractError as error:
        raise ConfigError(f"mining.rules: {error}") from error


def mining_stage(
    config: AgentConfig, rules: tuple[Rule, ...], sink: ExampleSink, clock: Clock, *, blocking: bool
) -> MiningStage:
    """The stage that keeps hard frames; ``blocking`` when all sources are files."""
    own = {rule.name: HourlyBudget(rule.per_hour) for rule in config.mining.rules if rule.per_hour is not None}
    return MiningStage(
        rules=rules,
        budget=RuleBudgets(HourlyBudget(config.mining.per_hour), own),
        dedup=NearDuplicates(config.mining.duplicate_distance),
        sink=sink,
        node_name=config.node.name,
        clock=clock,
        jpeg_quality=config.mining.jpeg_quality,
        blocking=blocking,
    )
