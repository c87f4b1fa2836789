# SPDX-License-Identifier: Apache-2.0
"""Phase 2: the film of the new site plays, and the loop closes: examples, labels, round, hot swap, confirmation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from helmet_demo.manifests import JOB
from helmet_demo.processes import DemoError
from helmet_demo.round import DONE, EVALUATION, FAILED, GATE, PUBLISHING, RUNS, TRAINING, TRIGGER, ended, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from helmet_demo.board import Board
    from helmet_demo.hub import Hub
    from helmet_demo.node import Node

EXAMPLES, LABELS, SWAP, CONFIRMED = "hard examples", "labels", "hot swap", "confirmed"
STAGES = (EXAMPLES, LABELS, TRIGGER, TRAINING, EVALUATION, GATE, PUBLISHING, SWAP, CONFIRMED)
PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 600.0
"""So long nothing may move; a machine with other work to do may be slow."""


class Labels(Protocol):
    """Somebody who labels what arrives."""

    @property
    def complete(self) -> bool:
        """Whether all that is to be labelled has gone by once."""
        ...

    @property
    def done(self) -> str:
        """In words what was labelled so far."""
        ...

    def arrived(self, examples: Sequence[dict[str, Any]]) -> str:
        """In words what has arrived."""
        ...

    def due(self, status: dict[str, Any], examples: Sequence[dict[str, Any]]) -> bool:
        """Whether it is time to label what has arrived.

        Args:
            status: of the node.
            examples: all that arrived.
        """
        ...

    def write_batch(self, examples: Iterable[dict[str, Any]]) -> Path | None:
        """Writes labels of what was not labelled yet, to be imported; None when there is nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the loop ended.

    Attributes:
        passed: whether the new model came to serve, and stayed.
        words: the gate's or the updater's, in one line.
        before, after: digests of the models that served first and last.
    """

    passed: bool
    words: str
    before: str
    after: str


class Loop:
    """Watches hub and node, imports labels, and fills the board.

    Args:
        hub, node: both running.
        labeller: labels what arrived.
        board: shows it.
        now: monotonic seconds.
    """

    def __init__(
        self,
        hub: Hub,
        node: Node,
        labeller: Labels,
        board: Board,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub, self._node, self._labeller, self._board, self._now = hub, node, labeller, board, now
        self._triggered = False
        self._before = str(node.status()["model"]["sha256"])

    def run(self) -> Outcome:
        """Until the new model is confirmed, or it is clear that it will not come.

        Raises:
            DemoError: hub or node ended, or nothing moves any more.
        """
        before, moved = None, self._now()
        while self._now() < moved + PATIENCE_SECONDS:
            status = self._node.status()
            self._look_at_examples(status)
            found = self._look_at_round()
            outcome = self._look_at_node(status, found)
            if outcome is not None:
                return outcome
            after = {name: (stage.state, stage.words) for name, stage in self._board.stages.items() if name != EXAMPLES}
            if after != before:
                before, moved = after, self._now()
            time.sleep(PAUSE_SECONDS)
        waiting = "; ".join(
            f"{name}: {stage.words}" for name, stage in self._board.stages.items() if stage.state == RUNS
        )
        raise DemoError(f"nothing has moved for {PATIENCE_SECONDS:.0f} s ({waiting}); look at {self._hub.child.log}")

    def _look_at_examples(self, status: dict[str, Any]) -> None:
        board, labeller = self._board, self._labeller
        if self._triggered and labeller.complete:
            return
        examples = self._hub.examples()
        words = f"{len(examples)} at the hub, {labeller.arrived(examples)}; {status['frames']} frames seen"
        board.runs(EXAMPLES, words)
        if not labeller.due(status, examples):
            return
        batch = labeller.write_batch(examples)
        if batch is not None:
            self._hub.import_labels(batch)
            board.runs(LABELS, labeller.done)
        if labeller.complete:
            board.done(EXAMPLES, words)
            board.done(LABELS)

    def _look_at_round(self) -> dict[str, str]:
        found = rows(self._hub.conditions(JOB))
        for name, row in found.items():
            if row.state == RUNS:
                self._board.runs(name, row.words)
            elif row.state == DONE:
                self._triggered = self._triggered or name == TRIGGER
                self._board.done(name, row.words)
            elif row.state == FAILED:
                self._board.failed(name, row.words)
        if any(row.state == FAILED for row in found.values()):
            return {"failed": next(row.words for row in found.values() if row.state == FAILED)}
        return {"deployed": found[PUBLISHING].words} if ended(found) else {}

    def _look_at_node(self, status: dict[str, Any], found: dict[str, str]) -> Outcome | None:
        model, updates = str(status["model"]["sha256"]), status["updates"]
        if "failed" in found:
            return Outcome(passed=False, words=found["failed"], before=self._before, after=model)
        if "deployed" not in found:
            return None
        state = str(updates["state"])
        refused = [reason for _, reason in updates["quarantined"]]
        if refused:
            self._board.failed(SWAP, refused[0])
            return Outcome(passed=False, words=f"the node refused it: {refused[0]}", before=self._before, after=model)
        if model == self._before:
            self._board.runs(SWAP, f"the node: {state}")
            return None
        self._board.done(SWAP, f"{self._before[:12]} -> {model[:12]} between two frames")
        if state != "confirmed":
            self._board.runs(CONFIRMED, f"the node: {state}")
            return None
        self._board.done(CONFIRMED, f"{model[:12]} serves")
        return Outcome(passed=True, words=found["deployed"], before=self._before, after=model)
