# SPDX-License-Identifier: Apache-2.0
"""Random: Sedna's rule that looks at nothing, the yardstick for all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.parameters import number
from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from helmet_agent.vision.mining.rule import Draw, RuleContext


@dataclass(frozen=True, slots=True)
class RandomChoice:
    """Hard iff ``U(0, 1) < random_ratio``, whatever is in the frame; one draw a frame.

    The verdict's value is always 0: chance knows nothing about the frame. Unlike Sedna's, it takes the ratio as the
    string that the resource carries.
    """

    name: ClassVar[str] = "Random"
    draw: Draw
    random_ratio: float = number(0.3)

    def judge(self, _context: RuleContext) -> Verdict | None:
        """Draws."""
        return Verdict(self.name, 0.0) if self.draw() < self.random_ratio else None
