# SPDX-License-Identifier: Apache-2.0
"""PersonWithoutHead: a whole person is seen, but no head where it must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from helmet_agent.vision.mining.boxes import HEADS, PERSON, centre_within
from helmet_agent.vision.mining.parameters import number
from helmet_agent.vision.mining.rule import Verdict

if TYPE_CHECKING:
    from helmet_agent.contract import Box, Detection
    from helmet_agent.vision.mining.rule import RuleContext


@dataclass(frozen=True, slots=True)
class PersonWithoutHead:
    """Hard iff a person of enough score and size has no head, worn or bare, in the upper part of the box.

    Persons cut off by the picture's upper edge are left out: their heads are outside.

    The verdict's value is that person's score, of the surest one, in [0, 1].

    Parameters:
        min_score: score from which on a person is believed (0..1).
        min_height: height of the person's box, as a share of the picture's (0..1); smaller ones have heads too small
            to be held against the model.
        head_part: upper share of the box in which the centre of the head is looked for (0..1).
    """

    name: ClassVar[str] = "PersonWithoutHead"
    min_score: float = number(0.5)
    min_height: float = number(0.15)
    head_part: float = number(0.4)

    def judge(self, context: RuleContext) -> Verdict | None:
        """Judges the persons, surest first."""
        heads = [found.box for found in context.detections if found.label in HEADS]
        persons = [found for found in context.detections if self._counts(found, context.height)]
        values = [person.score for person in persons if not self._has_head(person.box, heads)]
        return Verdict(self.name, max(values)) if values else None

    def _counts(self, found: Detection, height: int) -> bool:
        _, top, _, bottom = found.box
        return (
            found.label == PERSON
            and found.score >= self.min_score
            and bottom - top >= self.min_height * height
            and top > 0.01 * height
        )

    def _has_head(self, person: Box, heads: list[Box]) -> bool:
        left, top, right, bottom = person
        # A head may lean out of the box by a little on every side.
        slack = 0.1 * (right - left)
        region = (left - slack, top - slack, right + slack, top + self.head_part * (bottom - top))
        return any(centre_within(head, region) for head in heads)
