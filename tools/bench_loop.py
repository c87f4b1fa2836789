# SPDX-License-Identifier: Apache-2.0
"""The loop's figures: swap, polls of a fleet, ingest. Each has a tool of its own; this runs them and makes the rows."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Goal:
    """One line of the report.

    Attributes:
        run: which of ``RUNS`` it is taken from.
        key: in that run's JSON.
        what: for people.
        limit: the target.
        at_most: whether smaller is better.
    """

    run: str
    key: str
    what: str
    limit: float
    at_most: bool = True


RUNS = {
    "swap": ("bench_swap.py", "--json"),
    "polls": ("bench_channel.py", "--nodes", "1000", "--period", "30", "--seconds", "690"),
    "ingest": ("bench_ingest.py", "--json"),
}
GOALS = (
    Goal("swap", "frames_lost_swap", "Frames lost in the swaps: from 0.5 s before to 1 s after each", 0),
    Goal("swap", "swap_gap_over_no_swap_p99", "Longest gap between results in a swap, beside the no-swap p99", 1.5),
    Goal("swap", "rss_growth_mib", "Growth of the agent's memory over 200 swaps, MiB", 5),
    Goal("polls", "poll_ms_p99", "1,000 nodes at 30 s polls, hub on one core: p99, ms", 50),
    Goal("polls", "publication_poll_ms_p99", "The same, in the period after a publication only: p99, ms", 50),
    Goal("polls", "not_modified_share", "The same, publication included: answered 304, share", 0.95, at_most=False),
    Goal("polls", "hub_rss_peak_mib", "The same: most resident memory of the hub, MiB", 200),
    Goal("ingest", "examples_per_second", "Examples of 100 kB taken in a second, HTTPS", 200, at_most=False),
    Goal("ingest", "hub_rss_mib", "The same: resident memory of the hub, MiB", 200),
)
HEAD = """
## The loop

From `tools/bench_swap.py` (720p played live, a training-like load beside it), `tools/bench_channel.py` and
`tools/bench_ingest.py`: real LiteRT models, real sockets, load generators in processes of their own.

| figure | target | measured | |
|---|---|---|---|
"""
TAIL = """
A reload on the inference thread, as in the loop that this one replaces, made gaps of {inline:.0f} ms ({times:.1f} times
the no-swap p99 of {p99:.0f} ms) and lost {lost:.0f} frames in windows of the same length; a swap's longest gap was
{swap:.0f} ms. As many such windows without any swap lost {calm:.1f} frames to the load beside it. Over whole updates,
the trial in a child process included, {update:.1f} frames a minute were lost, and {quiet:.1f} a minute between them.
"""


def measure() -> dict[str, dict[str, Any]]:
    """Runs the three tools one after the other; their progress goes to the terminal.

    Raises:
        subprocess.CalledProcessError: one failed; it has said why.
    """
    found = {}
    for name, (program, *options) in RUNS.items():
        command = [sys.executable, str(TOOLS / program), *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout)
    return found


def section(runs: dict[str, dict[str, Any]]) -> str:
    """The part of the page."""
    swap = runs["swap"]
    tail = TAIL.format(
        inline=swap["inline_gap_longest_ms"],
        times=swap["inline_gap_over_no_swap_p99"],
        p99=swap["no_swap_gap_p99_ms"],
        lost=swap["frames_lost_inline"],
        swap=swap["swap_gap_longest_ms"],
        calm=swap["frames_lost_no_swap"],
        update=swap["frames_lost_by_minute_update"],
        quiet=swap["frames_lost_by_minute_no_swap"],
    )
    return HEAD + "".join(_row(goal, float(runs[goal.run][goal.key])) for goal in GOALS) + tail


def _row(goal: Goal, value: float) -> str:
    met = value <= goal.limit if goal.at_most else value >= goal.limit
    bound = f"{'at most' if goal.at_most else 'at least'} {goal.limit:g}"
    return f"| {goal.what} | {bound} | {value:.3g} | {'met' if met else '**missed**'} |\n"
