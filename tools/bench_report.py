# SPDX-License-Identifier: Apache-2.0
"""``make bench``: measures the agent and writes docs/benchmarks.md: the machine, and every target beside its figure."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_loop

ROOT = Path(__file__).resolve().parent.parent
CLIPS = ROOT / "agent" / "src" / "helmet_agent" / "assets" / "clips"
CLIP_432P = CLIPS / "one-by-one-person-detection.mp4"
CLIP_720P = ROOT / "agent" / "tests" / "fixtures" / "clips" / "veo_generated_workers.mp4"
REPORT = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Target:
    """One line of the report.

    Attributes:
        key: in the JSON of ``helmet-agent bench``.
        clip: which run it is taken from, ``432p`` or ``720p``.
        what: for people.
        limit: the target.
        at_most: whether smaller is better.
        form: how the figure is written.
    """

    key: str
    clip: str
    what: str
    limit: float
    at_most: bool
    form: str = "{:.3g}"


TARGETS = (
    Target("cpu_ratio_vs_serial_float", "432p", "CPU a frame, beside the serial float loop", 0.45, at_most=True),
    Target("fps_ratio_vs_bare_invoke", "432p", "Frame rate, beside the bare network", 0.90, at_most=False),
    Target("mining_cpu_share", "432p", "Mining and spool, share of the CPU a frame", 0.05, at_most=True),
    Target("cold_start_seconds", "432p", "Cold start to the first frame's report, seconds", 1.5, at_most=True),
    Target("rss_mib", "720p", "Resident memory with one 720p source, MiB", 180.0, at_most=True),
    Target("rss_growth_mib_per_20000_frames", "432p", "Growth of it over 20,000 frames, MiB", 1.0, at_most=True),
    Target(
        "overload_age_p50_late_over_early",
        "432p",
        "Age of the frame in work at 3x overload, second half of the run beside the first",
        1.25,
        at_most=True,
    ),
)


def bench(clip: Path, *extra: str) -> dict[str, Any]:
    """Runs ``helmet-agent bench`` over a clip; its progress goes to the terminal."""
    command = (sys.executable, "-m", "helmet_agent", "bench", str(clip), "--json", *extra)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def verdict(target: Target, value: float | None) -> str:
    """``met``, ``missed``, or why there is no figure."""
    if value is None:
        return "not measured"
    return "met" if (value <= target.limit if target.at_most else value >= target.limit) else "**missed**"


HEAD = """\
# Benchmarks

Written by `make bench`.

## The node

Every figure comes from `helmet-agent bench CLIP --json`. Ratios are medians of interleaved
pairs in one run, so that a machine with other work spoils both sides alike. The comparator
(`helmet_agent/bench/serial_float.py`) is Sedna's loop on the float variant of the same network with the same number of
threads, and does not change.

Machine: {machine}, {cores} cores, Linux {kernel}, Python {python}; {day}; model `{model}`, {threads} thread,
{pairs} pairs of {frames} frames.

| figure | target | measured | |
|---|---|---|---|
"""

TAIL = """\

Beside them, without a target: {fps:.0f} frames a second and {cpu:.1f} ms of CPU a frame on the 768x432 clip,
{fps_hd:.0f} and {cpu_hd:.1f} ms on the 1280x720 one.
"""


def report(runs: dict[str, dict[str, Any]]) -> str:
    """The page."""
    main, hd = runs["432p"], runs["720p"]
    head = HEAD.format(
        machine=main["machine"],
        cores=os.cpu_count(),
        kernel=platform.release(),
        python=platform.python_version(),
        day=f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}",
        model=main["model"][:12],
        threads=main["threads"],
        pairs=main["pairs"],
        frames=main["frames"],
    )
    rows = [_row(target, runs[target.clip].get(target.key)) for target in TARGETS]
    age, limit = main["overload_age_p50_ms"], main["overload_age_limit_ms"]
    bound = f"one inference and one frame period: {limit:.1f}"
    met = "met" if age <= limit else "**missed**"
    rows.append(f"| Age of the frame in work at 3x overload, median, ms | {bound} | {age:.1f} | {met} |")
    tail = TAIL.format(fps=main["fps"], cpu=main["cpu_ms_per_frame"], fps_hd=hd["fps"], cpu_hd=hd["cpu_ms_per_frame"])
    return head + "\n".join(rows) + "\n" + tail


def _row(target: Target, value: float | None) -> str:
    shown = "-" if value is None else target.form.format(value)
    bound = f"{'at most' if target.at_most else 'at least'} {target.limit:g}"
    return f"| {target.what} | {bound} | {shown} | {verdict(target, value)} |"


def main() -> int:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--growth-frames", type=int, default=24_000, help="0 leaves the growth of memory out")
    options = parser.parse_args()
    runs = {
        "432p": bench(CLIP_432P, "--growth-frames", str(options.growth_frames)),
        "720p": bench(CLIP_720P, "--frames", "190", "--pairs", "3"),
    }
    REPORT.write_text(report(runs) + bench_loop.section(bench_loop.measure()))
    print(REPORT.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
