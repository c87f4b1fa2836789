# SPDX-License-Identifier: Apache-2.0
"""Hard example mining: rules that choose frames, the budget they share, and the memory of what was kept."""

from helmet_agent.vision.mining.budget import HourlyBudget, RuleBudgets
from helmet_agent.vision.mining.near_duplicates import NearDuplicates, dhash, hamming
from helmet_agent.vision.mining.registry import OWN_RULES, SEDNA_RULES, create, rules_for
from helmet_agent.vision.mining.rule import Rule, RuleContext, Verdict

__all__ = [
    "OWN_RULES",
    "SEDNA_RULES",
    "HourlyBudget",
    "NearDuplicates",
    "Rule",
    "RuleBudgets",
    "RuleContext",
    "Verdict",
    "create",
    "dhash",
    "hamming",
    "rules_for",
]
