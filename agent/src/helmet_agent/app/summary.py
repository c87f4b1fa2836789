# SPDX-License-Identifier: Apache-2.0
"""The closing table of a run: what was seen in each source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from helmet_agent.contract import ComplianceEvent
    from helmet_agent.services.pipeline import ProcessedFrame


@dataclass(slots=True)
class SourceTally:
    """Counts of one source."""

    frames: int = 0
    hard: int = 0
    violations: int = 0
    violation_seconds: float = 0.0
    detections: dict[str, int] = field(default_factory=dict)
    tracks: set[int] = field(default_factory=set)


class Summary:
    """Counts what every frame brought; a ``FrameObserver``."""

    def __init__(self) -> None:
        self.sources: dict[str, SourceTally] = {}

    def observe(self, processed: ProcessedFrame) -> None:
        """Counts one frame."""
        tally = self.sources.setdefault(processed.source, SourceTally())
        tally.frames += 1
        tally.hard += processed.report.hard
        for found in processed.report.detections:
            tally.detections[found.label] = tally.detections.get(found.label, 0) + 1
        tally.tracks.update(track.id for track in processed.tracks.tracks if not track.missed)
        for event in processed.events:
            if event.kind == "violation_started":
                tally.violations += 1
            else:
                tally.violation_seconds += event.duration_seconds or 0.0

    def ended(self, event: ComplianceEvent) -> None:
        """Counts a violation that ended with the run rather than with a frame."""
        tally = self.sources.setdefault(event.source, SourceTally())
        tally.violation_seconds += event.duration_seconds or 0.0

    def table(self, labels: tuple[str, ...]) -> str:
        """The counts as aligned text: one line a source, one column a label, and what was kept."""
        heads = ("source", "frames", *labels, "violations", "hard frames")
        rows = [
            (
                name,
                str(tally.frames),
                *(str(tally.detections.get(label, 0)) for label in labels),
                str(tally.violations),
                str(tally.hard),
            )
            for name, tally in sorted(self.sources.items())
        ]
        return align(heads, rows)


def align(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Rows as columns of equal width: the first flush left, the others flush right."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    lines = []
    for row in (heads, tuple("-" * width for width in widths), *rows):
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)


def kept(mining: Mapping[str, int]) -> str:
    """One sentence on what mining kept and why it left out the rest, from its counters."""
    dropped = {name.removeprefix("dropped."): count for name, count in mining.items() if name.startswith("dropped.")}
    causes = ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in sorted(dropped.items()) if count)
    return f"{mining.get('kept', 0)} kept" + (f"; left out: {causes}" if causes else "")
