# SPDX-License-Identifier: Apache-2.0
"""The live table: one row a stage, with its numbers and how long it took. On no terminal: a line for each change."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.console import Console

QUIET_SECONDS = 10.0
"""Off a terminal, a running stage says something new at most so often."""

_MARKS = {"waits": "·", "runs": ">", "done": "✓", "failed": "✗"}
_STYLES = {"waits": "dim", "runs": "bold", "done": "green", "failed": "bold red"}


@dataclass
class Stage:
    """One row.

    Attributes:
        name: what happens in it.
        state: ``waits``, ``runs``, ``done`` or ``failed``.
        words: its numbers.
        began, ended: monotonic seconds; None before.
        told: when it last said something, off a terminal.
    """

    name: str
    state: str = "waits"
    words: str = ""
    began: float | None = None
    ended: float | None = None
    told: float = float("-inf")


class Board:
    """Shows stages while they go by.

    Args:
        names: of the stages, in order.
        console: where.
        now: monotonic seconds.
    """

    def __init__(self, names: tuple[str, ...], console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self.stages = {name: Stage(name) for name in names}
        self._console = console
        self._now = now
        self._start = now()
        self._live = Live(self, console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __rich__(self) -> Table:
        table = Table(title="the loop", title_justify="left", box=None, pad_edge=False)
        for heading in ("", "stage", "s", ""):
            table.add_column(heading, justify="right" if heading == "s" else "left")
        for stage in self.stages.values():
            seconds = "" if stage.began is None else f"{(stage.ended or self._now()) - stage.began:.0f}"
            mark = Text(_MARKS[stage.state], _STYLES[stage.state])
            table.add_row(mark, Text(stage.name, _STYLES[stage.state]), seconds, Text(stage.words))
        return table

    def runs(self, name: str, words: str = "") -> None:
        """The stage is under way; its words may change as often as they like. A stage that is over stays so."""
        stage = self.stages[name]
        if stage.state in ("done", "failed"):
            return
        if stage.began is None:
            stage.began = self._now()
            stage.told = float("-inf")
        changed, stage.state = words != stage.words, "runs"
        stage.words = words or stage.words
        if changed and self._now() - stage.told >= QUIET_SECONDS:
            self._say(stage)

    def done(self, name: str, words: str = "") -> None:
        """The stage is over, and well."""
        self._end(name, "done", words)

    def failed(self, name: str, words: str = "") -> None:
        """The stage is over, and not well."""
        self._end(name, "failed", words)

    def _end(self, name: str, state: str, words: str) -> None:
        stage = self.stages[name]
        if stage.state in ("done", "failed"):
            return
        stage.began = self._now() if stage.began is None else stage.began
        stage.ended, stage.state, stage.words = self._now(), state, words or stage.words
        self._say(stage)

    def _say(self, stage: Stage) -> None:
        stage.told = self._now()
        if self._live is None:
            at = f"{self._now() - self._start:4.0f} s"
            self._console.print(Text(f"{at}  {_MARKS[stage.state]} {stage.name:22} {stage.words}"), soft_wrap=True)
