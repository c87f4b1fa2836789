# SPDX-License-Identifier: Apache-2.0
"""Figures that need a process of their own: cold start, resident memory, growth."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from helmet_agent.errors import AgentError

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
SAMPLE_SECONDS = 0.1
WARM_FRAMES = 2000
"""Frames after which the allocator's pools have their size; growth is counted from there."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one run.

    Attributes:
        peak_mib: the most that was seen.
        growth_mib: from the frame ``WARM_FRAMES`` to the last, for 20,000 frames; None for short runs.
        frames: how many there were.
    """

    peak_mib: float
    growth_mib: float | None
    frames: int


def cold_start_seconds(config: Path, runs: int = 5) -> float:
    """Median time from starting the service's process to its first frame report.

    Raises:
        AgentError: the agent ends without a report.
    """
    return statistics.median(_first_report_seconds(config) for _ in range(runs))


def memory_of_run(config: Path, frames: int | None) -> Memory:
    """Runs the service and watches its resident memory, to the end of its sources or for so many frames.

    Raises:
        AgentError: the agent failed.
    """
    process = _start(config, until_eof=frames is None)
    watched = psutil.Process(process.pid)
    seen, samples, next_sample = 0, [(0, 0)], 0.0
    assert process.stdout is not None  # noqa: S101 - asked for in _start
    for _ in process.stdout:
        seen += 1
        if time.monotonic() >= next_sample:
            samples.append((seen, watched.memory_info().rss))
            next_sample = time.monotonic() + SAMPLE_SECONDS
        if frames is not None and seen >= frames:
            samples.append((seen, watched.memory_info().rss))
            process.terminate()
            break
    process.stdout.close()
    code = process.wait(timeout=30)
    if code != 0 or not seen:
        raise AgentError(f"the measured agent ended with exit code {code} after {seen} frames")
    return Memory(max(rss for _, rss in samples) / MIB, _growth(samples), seen)


def _growth(samples: list[tuple[int, int]]) -> float | None:
    warm = [(frame, rss) for frame, rss in samples if frame >= WARM_FRAMES]
    if len(warm) < 10 or warm[-1][0] < 2 * WARM_FRAMES:  # noqa: PLR2004 - a line through fewer points means nothing
        return None
    slope = statistics.linear_regression([float(frame) for frame, _ in warm], [rss / MIB for _, rss in warm]).slope
    return slope * 20_000


def _first_report_seconds(config: Path) -> float:
    started = time.monotonic()
    process = _start(config, until_eof=True)
    assert process.stdout is not None  # noqa: S101 - asked for in _start
    line = process.stdout.readline()
    seconds = time.monotonic() - started
    process.terminate()
    process.stdout.close()
    process.wait(timeout=30)
    try:
        json.loads(line)
    except ValueError as error:
        raise AgentError(f"the measured agent ended with exit code {process.returncode} and no frame") from error
    return seconds


def _start(config: Path, *, until_eof: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "helmet_agent", "run", "--config", str(config), "--json"]
    if until_eof:
        command.append("--until-eof")
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603 - ours
