# SPDX-License-Identifier: Apache-2.0
"""The contestants of ``helmet-agent bench``, made once, each measured for one run when asked."""

from __future__ import annotations

import dataclasses
import statistics
import threading
import time
from typing import TYPE_CHECKING

from helmet_agent.adapters.clip import Clip
from helmet_agent.adapters.litert import load_float_variant, load_model
from helmet_agent.app.composition import Agent, compose
from helmet_agent.app.models import model_folder
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.bench.flood import FloodSource
from helmet_agent.bench.pairs import Cost, cost_of
from helmet_agent.bench.serial_float import SerialFloatLoop
from helmet_agent.config import load_config
from helmet_agent.source_url import SourceSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_agent.config import AgentConfig
    from helmet_agent.contract import Detection
    from helmet_agent.ports import BgrImage, Detector, Frame
    from helmet_agent.services.pipeline import ProcessedFrame
    from helmet_agent.vision.tracks import TrackUpdate

OVERLOAD = 3.0
"""How many times faster than the agent the flooding camera delivers."""


class Rig:
    """Holds the contestants.

    Args:
        clip: a video file.
        folder: for everything that is written; thrown away by the caller.
        threads: of both networks.
        frames: at most so many frames a run.
    """

    def __init__(self, clip: Path, folder: Path, threads: int, frames: int) -> None:
        self._clip = clip
        self._folder = folder
        self._frames = frames
        self.config_file = self._write_config("bench.toml", threads, "once", loop=False)
        self.looping_config_file = self._write_config("loop.toml", threads, "looping", loop=True)
        self._config = load_config(self._write_config("inside.toml", threads, "inside", loop=False))
        model = load_model(model_folder(self._config), threads)
        self._model = model
        self.digest = model.manifest.model.sha256
        float_model = load_float_variant(model_folder(self._config), threads)
        results = folder / "results"
        results.mkdir()
        self._serial = SerialFloatLoop(float_model.infer, model.manifest, results)
        self._runs = 0
        self.mining_shares: list[float] = []

    def ours(self) -> Cost:
        """The agent's pipeline as it is installed, mining and spool included, on the first frames of the clip."""
        agent = compose(self._fresh(), SystemClock(), until_eof=True, observers=[stop := _StopAfter(self._frames)])
        timed = _TimedMining(agent)
        try:
            agent.ingest.start()
            cost = cost_of(lambda: stop.run(agent))
            self.mining_shares.append(timed.cpu_seconds() / cost.cpu_seconds)
        finally:
            agent.close()
        return cost

    def serial_float(self) -> Cost:
        """The frozen comparator on the same frames."""
        return cost_of(lambda: self._serial.run(self._clip, self._frames))

    def bare_invoke(self) -> Cost:
        """The int8 network alone, as often as there are frames."""
        return cost_of(lambda: self._model.invoke_repeatedly(self._frames))

    def overload(self) -> dict[str, float]:
        """Ages of the frame in work while a camera delivers three times as many frames as can be looked at."""
        agent = compose(self._fresh(), SystemClock(), until_eof=True, observers=[])
        pictures = _first_pictures(self._clip, 24)
        alone = self._seconds_alone(agent.slot.current, pictures)
        agent.close()
        ages: list[float] = []
        rate = OVERLOAD / alone
        flood = FloodSource(pictures, rate, int(rate * 10), SystemClock())
        flooded = compose(
            self._fresh(),
            SystemClock(),
            until_eof=True,
            observers=[_Ages(ages)],
            sources=[(flood, SourceSettings(name="flood", url="flood"))],
        )
        try:
            flooded.ingest.start()
            flooded.pipeline.run(threading.Event())
        finally:
            flooded.close()
        inference = flooded.pipeline.inference.summary().median_seconds
        half = len(ages) // 2
        return {
            "overload_age_p50_ms": 1000 * statistics.median(ages),
            "overload_age_p50_late_over_early": statistics.median(ages[half:]) / statistics.median(ages[:half]),
            "overload_age_limit_ms": 1000 * (inference + 1 / rate),
        }

    def _seconds_alone(self, detector: Detector, pictures: Sequence[BgrImage]) -> float:
        seconds = []
        for picture in pictures:
            started = time.perf_counter()
            detector.infer(detector.prepare(picture))
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds)

    def _fresh(self) -> AgentConfig:
        """The configuration over a folder of its own, so that no run finds the examples of the one before."""
        self._runs += 1
        node = dataclasses.replace(self._config.node, data_dir=self._folder / f"run-{self._runs}")
        return dataclasses.replace(self._config, node=node)

    def _write_config(self, name: str, threads: int, data: str, *, loop: bool) -> Path:
        path = self._folder / name
        path.write_text(
            f"[node]\nname = 'bench'\ndata_dir = '{self._folder / data}'\n[model]\nthreads = {threads}\n"
            f"[api]\nlisten = '127.0.0.1:0'\n[log]\nlevel = 'error'\n"
            f"[[sources]]\nname = 'bench'\nurl = '{self._clip.resolve()}'\nloop = {'true' if loop else 'false'}\n"
        )
        return path


class _StopAfter:
    """Ends a run after so many frames; a ``FrameObserver``."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._seen = 0
        self._stop = threading.Event()

    def observe(self, _processed: ProcessedFrame) -> None:
        self._seen += 1
        if self._seen >= self._frames:
            self._stop.set()

    def run(self, agent: Agent) -> int:
        agent.pipeline.run(self._stop)
        return self._seen


class _Ages:
    """Notes the age of every frame; a ``FrameObserver``."""

    def __init__(self, ages: list[float]) -> None:
        self._ages = ages

    def observe(self, processed: ProcessedFrame) -> None:
        self._ages.append(processed.age_seconds)


class _TimedMining:
    """Stands before the agent's mining stage and adds up its CPU: judging on this thread, keeping on its own."""

    def __init__(self, agent: Agent) -> None:
        self._stage = agent.mining
        self._seconds = 0.0
        agent.pipeline.mining = self

    def consider(self, frame: Frame, detections: Sequence[Detection], tracks: TrackUpdate, model_digest: str) -> bool:
        started = time.thread_time()
        hard = self._stage is not None and self._stage.consider(frame, detections, tracks, model_digest)
        self._seconds += time.thread_time() - started
        return hard

    def cpu_seconds(self) -> float:
        """So far; the keeping thread's share is read from the kernel's clock of that thread."""
        keeping = 0.0
        for thread in threading.enumerate():
            if thread.name == "mining" and thread.ident is not None:
                keeping += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        return self._seconds + keeping


def _first_pictures(clip: Path, count: int) -> list[BgrImage]:
    source = Clip(SourceSettings(name="bench", url=str(clip)), SystemClock())
    source.open()
    found: list[BgrImage] = []
    while len(found) < count and (frame := source.read()) is not None:
        found.append(frame.image)
    source.close()
    return found
