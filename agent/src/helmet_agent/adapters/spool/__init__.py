# SPDX-License-Identifier: Apache-2.0
"""Hard examples on this node's disk until they are fetched: nothing acknowledged is lost."""

from helmet_agent.adapters.spool.index import RULE_RANKS
from helmet_agent.adapters.spool.spool import Spool, SpoolStats

__all__ = ["RULE_RANKS", "Spool", "SpoolStats"]
