# SPDX-License-Identifier: Apache-2.0
"""What a swap of the model costs a live camera: the updater's way, and a reload in the loop beside it.

A 720p clip plays at its own rate through the agent while a training-like load runs in a process of its own. Phases
without a swap, with one made by the updater (probe in a child, load, warm-up, swap, probation) and with a reload on the
inference thread follow one another, so that a machine that is busy for a while spoils all alike. Lost frames count
in a window around the moment at which the model changes, and in windows of the same length without a swap; what whole
updates cost, their trial in a child included, is told by the minute.

    python tools/bench_swap.py [--rounds 10] [--swaps 200] [--json]
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from nudged_model import nudged_folder

from helmet_agent.adapters.litert import load_manifest
from helmet_agent.app.composition import Agent, compose
from helmet_agent.app.live_model import SwappedModel
from helmet_agent.app.models import load_detector
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.app.updates import make_probe, make_updater, open_models
from helmet_agent.config import load_config
from helmet_agent.logs import configure_logging
from helmet_agent.ports import ModelOffer
from helmet_agent.services.update_state import Phase

if TYPE_CHECKING:
    from helmet_agent.config import AgentConfig
    from helmet_agent.contract import FileReference
    from helmet_agent.services.pipeline import ProcessedFrame
    from helmet_agent.services.updater import Updater

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "agent" / "tests" / "fixtures" / "clips" / "veo_generated_workers.mp4"
JOB = "default/bench"
QUIET_SECONDS = 6.0
BEFORE_SECONDS, AFTER_SECONDS = 0.5, 1.0
LOAD = (
    "import numpy as np\n"
    "a = np.random.default_rng(0).random((700, 700), np.float32)\n"
    "while True:\n"
    "    a = a @ a; a /= a.max()\n"
)


class Gaps:
    """Notes when each result came; a ``FrameObserver``."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.models: list[str] = []

    def observe(self, processed: ProcessedFrame) -> None:
        """Notes one result."""
        self.times.append(time.monotonic())
        self.models.append(processed.report.model)

    def between(self, start: float, end: float) -> list[float]:
        """The gaps that end in a stretch of time, in seconds."""
        return [b - a for a, b in zip(self.times, self.times[1:], strict=False) if start <= b <= end]


class NotedSwaps(SwappedModel):
    """Notes when each swap came."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.swapped: list[float] = []

    def swap(self) -> None:  # noqa: D102 - as its parent's
        self.swapped.append(time.monotonic())
        super().swap()


class Losses:
    """Watches the count of frames that an agent loses until ``stop`` is set, to tell those of any window afterwards."""

    def __init__(self, agent: Agent, stop: threading.Event) -> None:
        self._agent = agent
        self._seen: list[tuple[float, int]] = [(time.monotonic(), drops(agent))]
        self._stop = stop
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def between(self, start: float, end: float) -> int:
        """Frames lost in a stretch of time that is over."""
        return self._at(end) - self._at(start)

    def _at(self, moment: float) -> int:
        return next((count for when, count in reversed(self._seen) if when <= moment), self._seen[0][1])

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self._seen.append((time.monotonic(), drops(self._agent)))


class Offers:
    """A feed that offers the next model each time it is asked; implements ``ports.ModelFeed``."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._release = 1

    def check(self) -> ModelOffer:
        """The next model, under the next release."""
        self._release += 1
        folder = self._folders[self._release % len(self._folders)]
        manifest = dataclasses.replace(load_manifest(folder), release=self._release)
        content = manifest.to_bytes()
        return ModelOffer(hashlib.sha256(content).hexdigest(), manifest, content)

    def fetch(self, wanted: FileReference, into: Path) -> None:
        """Copies the file with that digest."""
        for path in (path for folder in self._folders for path in folder.iterdir()):
            if path.name == wanted.name and hashlib.sha256(path.read_bytes()).hexdigest() == wanted.sha256:
                shutil.copy(path, into)

    def cancel(self) -> None:
        """Nothing goes on for long."""


class InlineSlot:
    """Stands in the pipeline's place for a slot and reloads in the loop, as a simple agent would."""

    def __init__(self, agent: Agent, config: AgentConfig) -> None:
        self._agent = agent
        self._config = config
        self.wanted: Path | None = None
        self.swaps = 0

    @property
    def current(self) -> Any:
        """The detector to use for this frame, loaded first when another one is wanted."""
        if self.wanted is not None:
            folder, self.wanted = self.wanted, None
            self._agent.slot.swap(load_detector(self._config, folder))
            self.swaps += 1
        return self._agent.slot.current


def make_config(folder: Path) -> AgentConfig:
    """An agent that watches the clip as it would a camera."""
    path = folder / "agent.toml"
    (folder / "root.json").write_text("{}")
    path.write_text(
        f"[node]\nname = 'bench'\ndata_dir = '{folder / 'data'}'\n[api]\nenabled = false\n[log]\nlevel = 'error'\n"
        f"[[sources]]\nname = 'gate'\nurl = '{CLIP}'\nrealtime = true\nloop = true\n"
        f"[updates]\nfollow = '{JOB}'\nroot_file = '{folder / 'root.json'}'\n"
        "probation_seconds = 1\nprobation_frames = 5\n"
    )
    return load_config(path)


def drops(agent: Agent) -> int:
    """Frames that came and were not understood."""
    lost = sum(sum(status.drops.values()) for status in agent.ingest.statuses())
    return lost + agent.pipeline.dropped + agent.pipeline.counters.failures


def swap_by_updater(updater: Updater) -> tuple[float, float]:
    """One update from the offer to the confirmation; the stretch of time that it took."""
    start = time.monotonic()
    updater.update()
    if updater.state.phase is not Phase.LIVE:
        raise SystemExit(f"the model was refused: {updater.state.quarantined[:1]}")
    while updater.state.phase is Phase.LIVE:
        time.sleep(0.25)
        updater.watch()
    if updater.state.quarantined:
        raise SystemExit(f"the model went back: {updater.state.quarantined[0].reason}")
    return start, time.monotonic()


def measure_gaps(folder: Path, rounds: int) -> dict[str, Any]:
    """Gaps between results without a swap, around the updater's, and around reloads in the loop."""
    config, clock, gaps = make_config(folder), SystemClock(), Gaps()
    agent = compose(config, clock, until_eof=False, observers=[gaps])
    inline = InlineSlot(agent, config)
    agent.pipeline._slot = inline  # type: ignore[assignment] # noqa: SLF001 - the comparator's place
    models = open_models(config, clock)
    models.book.begin()
    folders = [folder / "a", folder / "b"]
    for seed, made in enumerate(folders):
        nudged_folder(made, seed)
    live = NotedSwaps(config, agent.slot, agent.pipeline, agent.mining, agent.latest)
    updater = make_updater(config, models, live, clock, feed=Offers(folders), probe=make_probe(config))
    stop = threading.Event()
    agent.ingest.start()
    loop = threading.Thread(target=agent.pipeline.run, args=(stop,), daemon=True)
    loop.start()
    time.sleep(5.0)
    losses = Losses(agent, stop)
    found: dict[str, list[float]] = {"quiet": [], "quiet_longest": [], "updater": [], "inline": []}
    phases: dict[str, list[tuple[float, float]]] = {"quiet": [], "updater": [], "inline": []}
    inlined: list[float] = []
    for number in range(rounds):
        sys.stderr.write(f"bench: round {number + 1} of {rounds}\n")
        start = time.monotonic()
        time.sleep(QUIET_SECONDS)
        phases["quiet"].append((start, time.monotonic()))
        seen = gaps.between(*phases["quiet"][-1])
        found["quiet"] += seen
        found["quiet_longest"].append(max(seen))
        phases["updater"].append(swap_by_updater(updater))
        found["updater"].append(max(gaps.between(*phases["updater"][-1])))
        start = time.monotonic()
        time.sleep(BEFORE_SECONDS)
        inlined.append(time.monotonic())
        inline.wanted = folders[number % 2]
        time.sleep(AFTER_SECONDS + 1.0)
        phases["inline"].append((start, time.monotonic()))
        found["inline"].append(max(gaps.between(*phases["inline"][-1])))
    stop.set()
    loop.join(5.0)
    models.close()
    agent.close()
    p99 = sorted(found["quiet"])[int(0.99 * len(found["quiet"]))]
    figures: dict[str, Any] = {
        "no_swap_gap_p50_ms": 1000 * statistics.median(found["quiet"]),
        "no_swap_gap_p99_ms": 1000 * p99,
        "no_swap_gap_longest_ms": 1000 * max(found["quiet_longest"]),
    }
    for key, phase in (("swap", "updater"), ("inline", "inline")):
        figures |= {
            f"{key}_gap_longest_ms": 1000 * max(found[phase]),
            f"{key}_gap_longest_median_ms": 1000 * statistics.median(found[phase]),
            f"{key}_gap_over_no_swap_p99": max(found[phase]) / p99,
        }
    return figures | {"swaps": rounds} | lost_frames(losses, phases, live.swapped, inlined)


def lost_frames(
    losses: Losses, phases: dict[str, list[tuple[float, float]]], swapped: list[float], inlined: list[float]
) -> dict[str, Any]:
    """Frames lost around the swaps, in as many windows without one, and by the minute."""
    length = BEFORE_SECONDS + AFTER_SECONDS
    calm = [
        (start + length * number, start + length * (number + 1))
        for start, end in phases["quiet"]
        for number in range(int((end - start) / length))
    ]
    lost = {name: sum(losses.between(*window) for window in windows) for name, windows in phases.items()}
    minutes = {name: sum(end - start for start, end in windows) / 60 for name, windows in phases.items()}

    def around(moments: list[float]) -> int:
        return sum(losses.between(moment - BEFORE_SECONDS, moment + AFTER_SECONDS) for moment in moments)

    return {
        "frames_lost_swap": around(swapped),
        "frames_lost_no_swap": sum(losses.between(*window) for window in calm) * len(swapped) / len(calm),
        "frames_lost_inline": around(inlined),
        "frames_lost_by_minute_no_swap": lost["quiet"] / minutes["quiet"],
        "frames_lost_by_minute_update": lost["updater"] / minutes["updater"],
    }


def measure_growth(folder: Path, swaps: int) -> dict[str, Any]:
    """Resident memory over many swaps while frames are looked at."""
    config, clock = make_config(folder), SystemClock()
    agent = compose(config, clock, until_eof=False)
    folders = [folder / "a", folder / "b"]
    for seed, made in enumerate(folders):
        nudged_folder(made, seed)
    live = SwappedModel(config, agent.slot, agent.pipeline, agent.mining, agent.latest)
    stop = threading.Event()
    agent.ingest.start()
    loop = threading.Thread(target=agent.pipeline.run, args=(stop,), daemon=True)
    loop.start()
    process, seen = psutil.Process(), []
    time.sleep(10.0)
    for number in range(swaps + 20):
        live.load(folders[number % 2])
        live.swap()
        time.sleep(0.15)
        live.settle()
        seen.append(process.memory_info().rss / (1 << 20))
        if number % 50 == 0:
            sys.stderr.write(f"bench: swap {number}, {seen[-1]:.1f} MiB\n")
    stop.set()
    loop.join(5.0)
    agent.close()
    # The first swaps bring the allocator's pools to their size.
    early, late = statistics.median(seen[20:40]), statistics.median(seen[-20:])
    return {"rss_growth_mib": late - early, "rss_first_mib": seen[0], "rss_last_mib": late, "growth_swaps": swaps}


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="swaps of each kind (default: 10)")
    parser.add_argument("--swaps", type=int, default=200, help="swaps over which memory is watched (default: 200)")
    parser.add_argument("--no-load", action="store_true", help="without the training-like load")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    configure_logging("error")
    load = None
    if not options.no_load:
        load = subprocess.Popen([sys.executable, "-c", LOAD], env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    figures: dict[str, Any] = {"machine": platform.machine(), "load_average_before": os.getloadavg()[0]}
    try:
        with tempfile.TemporaryDirectory(prefix="helmet-swap-") as name:
            if options.rounds:
                (Path(name) / "gaps").mkdir()
                figures |= measure_gaps(Path(name) / "gaps", options.rounds)
            if options.swaps:
                (Path(name) / "growth").mkdir()
                figures |= measure_growth(Path(name) / "growth", options.swaps)
    finally:
        if load is not None:
            load.kill()
            load.wait()
    if options.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{key:32} {value:.4g}" for key, value in figures.items() if key != "machine"))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a decoder's thread may still be at work
