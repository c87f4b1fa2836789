# SPDX-License-Identifier: Apache-2.0
"""CloudOnly and EdgeOnly: Sedna's rules that take every frame, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from helmet_agent.vision.mining.rule import RuleContext


@dataclass(frozen=True, slots=True)
class CloudOnly:
    """Every frame is hard; the verdict's value is always 0. The budget still holds."""

    name: ClassVar[str] = "CloudOnly"

    def judge(self, _context: RuleContext) -> Verdict | None:
        """Always a verdict."""
        return Verdict(self.name, 0.0)


@dataclass(frozen=True, slots=True)
class EdgeOnly:
    """No frame is hard: nothing leaves the node."""

    name: ClassVar[str] = "EdgeOnly"

    def judge(self, _context: RuleContext) -> Verdict | None:
        """Never a verdict."""
        return None
