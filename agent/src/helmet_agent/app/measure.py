# SPDX-License-Identifier: Apache-2.0
"""``helmet-agent bench``: what the agent costs on this machine, as ratios to what runs beside it."""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from helmet_agent.app.bench_rig import OVERLOAD, Rig
from helmet_agent.app.summary import align
from helmet_agent.bench.children import cold_start_seconds, memory_of_run
from helmet_agent.bench.pairs import interleave, median_ratio
from helmet_agent.errors import EXIT_OK, SourceMissing
from helmet_agent.logs import configure_logging

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def bench_command(options: argparse.Namespace, out: TextIO) -> int:
    """Measures and prints.

    Raises:
        SourceMissing: the clip cannot be read.
    """
    configure_logging("error")
    clip = Path(options.source)
    if not clip.is_file():
        raise SourceMissing(f"{clip}: no such file; bench needs a video file")
    figures = measure(clip, options.threads, options.pairs, options.frames, options.growth_frames)
    if options.json:
        print(json.dumps(figures), file=out)
    else:
        rows: list[tuple[str, ...]] = [
            (name, f"{value:.4g}" if isinstance(value, float) else str(value)) for name, value in figures.items()
        ]
        print(align(("figure", "value"), rows), file=out)
    return EXIT_OK


def measure(clip: Path, threads: int, pairs: int, frames: int, growth_frames: int) -> dict[str, Any]:
    """All figures of one clip.

    Args:
        clip: a video file.
        threads: of both networks.
        pairs: how many interleaved pairs each ratio is the median of.
        frames: at most so many frames a measurement.
        growth_frames: watch memory over so many frames; 0 leaves it out.

    Raises:
        AgentError: the clip or the model cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="helmet-bench-") as folder:
        rig = Rig(clip, Path(folder), threads, frames)
        serial = interleave(pairs, rig.ours, rig.serial_float, _say("pipeline beside the serial float loop"))
        bare = interleave(pairs, rig.ours, rig.bare_invoke, _say("pipeline beside the bare network"))
        ours = [cost for cost, _ in (*serial, *bare)]
        _say("cold start")("5 starts")
        cold = cold_start_seconds(rig.config_file)
        _say("memory")("one run")
        memory = memory_of_run(rig.config_file, None)
        _say("overload")(f"{OVERLOAD:g} times too many frames")
        overload = rig.overload()
        figures = {
            "cpu_ratio_vs_serial_float": median_ratio(serial, lambda cost: cost.cpu_per_frame),
            "fps_ratio_vs_bare_invoke": median_ratio(bare, lambda cost: cost.rate),
            "mining_cpu_share": statistics.median(rig.mining_shares),
            "cold_start_seconds": cold,
            "rss_mib": memory.peak_mib,
            "fps": statistics.median(cost.rate for cost in ours),
            "cpu_ms_per_frame": 1000 * statistics.median(cost.cpu_per_frame for cost in ours),
            **overload,
            "model": rig.digest,
            "threads": threads,
            "pairs": pairs,
            "frames": frames,
            "machine": f"{platform.machine()}, {_processor()}",
        }
        if growth_frames:
            _say("growth")(f"{growth_frames} frames")
            grown = memory_of_run(rig.looping_config_file, growth_frames)
            figures["rss_growth_mib_per_20000_frames"] = grown.growth_mib
        return figures


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"


def _say(what: str) -> Callable[[str], None]:
    def say(text: str) -> None:
        sys.stderr.write(f"bench: {what}: {text}\n")

    return say
