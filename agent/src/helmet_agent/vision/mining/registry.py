# SPDX-License-Identifier: Apache-2.0
"""Makes rules by name, as a job's manifest or the configuration names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helmet_agent.contract import ContractError, MiningRule
from helmet_agent.vision.mining import parameters
from helmet_agent.vision.mining.all_or_none import CloudOnly, EdgeOnly
from helmet_agent.vision.mining.cross_entropy import CrossEntropy
from helmet_agent.vision.mining.head_conflict import HeadConflict
from helmet_agent.vision.mining.head_without_person import HeadWithoutPerson
from helmet_agent.vision.mining.ibt import Ibt
from helmet_agent.vision.mining.label_flip import LabelFlip
from helmet_agent.vision.mining.person_without_head import PersonWithoutHead
from helmet_agent.vision.mining.random_choice import RandomChoice
from helmet_agent.vision.mining.score_flicker import ScoreFlicker
from helmet_agent.vision.mining.threshold import Threshold
from helmet_agent.vision.mining.track_lost import TrackLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.vision.mining.rule import Draw, Rule

SEDNA_RULES = ("IBT", "CrossEntropy", "Threshold", "Random", "CloudOnly", "EdgeOnly")
OWN_RULES = ("TrackLost", "LabelFlip", "HeadConflict", "ScoreFlicker", "PersonWithoutHead", "HeadWithoutPerson")
"""This project's own rules, in the order of precedence: the rarest first."""

_CLASSES: dict[str, type[Any]] = {
    each.name: each
    for each in (
        Ibt,
        CrossEntropy,
        Threshold,
        RandomChoice,
        CloudOnly,
        EdgeOnly,
        TrackLost,
        LabelFlip,
        HeadConflict,
        ScoreFlicker,
        PersonWithoutHead,
        HeadWithoutPerson,
    )
}


def create(rule: MiningRule, random: Draw) -> Rule:
    """The rule of that name with those parameters, strings as the resource carries them.

    Args:
        rule: name and parameters; an absent parameter has its default.
        random: where rules that draw lots get their numbers from.

    Raises:
        ContractError: unknown name or parameter (with the nearest there is), or a value that cannot be right.
    """
    made = _CLASSES.get(rule.name)
    if made is None:
        raise ContractError(f"mining.name: unknown rule {rule.name!r}{parameters.nearest(rule.name, _CLASSES)}")
    arguments: dict[str, Any] = dict(parameters.read(rule.name, made, rule.parameters))
    if made is RandomChoice:
        arguments["draw"] = random
    chosen: Rule = made(**arguments)
    return chosen


def rules_for(job: MiningRule | None, random: Draw, own: Sequence[MiningRule] | None = None) -> tuple[Rule, ...]:
    """The rules that a node runs, in the order of precedence: its own ones first, the job's last.

    The rare come before the common, so that a frame which IBT takes with nearly every other is kept under the name of
    the rule that had something to say about it. A job that asks for EdgeOnly wants nothing to leave the node: then no
    other rule runs either. Where both name a rule, the node's parameters hold.

    Args:
        job: the rule that travels in the manifest; None where the node does not follow it.
        random: as in ``create``.
        own: the node's own rules; None means all of ``OWN_RULES`` with their defaults.

    Raises:
        ContractError: as in ``create``.
    """
    chosen = [create(each, random) for each in ([MiningRule(name) for name in OWN_RULES] if own is None else own)]
    if job is None:
        return tuple(chosen)
    last = create(job, random)
    if isinstance(last, EdgeOnly):
        return (last,)
    if any(each.name == last.name for each in chosen):
        return tuple(chosen)
    return (*chosen, last)
