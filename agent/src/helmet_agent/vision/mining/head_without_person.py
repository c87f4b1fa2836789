# SPDX-License-Identifier: Apache-2.0
"""HeadWithoutPerson: a head is seen, but nobody that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.boxes import HEADS, PERSON, centre_within
from helmet_agent.vision.mining.parameters import number
from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from helmet_agent.vision.mining.rule import RuleContext


@dataclass(frozen=True, slots=True)
class HeadWithoutPerson:
    """Hard iff the centre of a head of enough score lies in no person's box: a person missed, or a false head.

    The verdict's value is that head's score, of the surest one, in [0, 1].

    Parameters:
        min_score: score from which on a head is believed (0..1).
    """

    name: ClassVar[str] = "HeadWithoutPerson"
    min_score: float = number(0.5)

    def judge(self, context: RuleContext) -> Verdict | None:
        """Judges the heads."""
        persons = [found.box for found in context.detections if found.label == PERSON]
        values = [
            found.score
            for found in context.detections
            if found.label in HEADS
            and found.score >= self.min_score
            and not any(centre_within(found.box, person) for person in persons)
        ]
        return Verdict(self.name, max(values)) if values else None
