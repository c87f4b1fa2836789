# SPDX-License-Identifier: Apache-2.0
"""The model that serves and the one before it: loaded beside each other, swapped between two frames."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.app.keeping import mining_rules
from helmet_agent.app.models import load_detector
from helmet_agent.detector import probe
from helmet_agent.errors import ModelError
from helmet_agent.services.probation import Opinion, Vitals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helmet_agent.app.latest import LatestFrames
    from helmet_agent.config import AgentConfig
    from helmet_agent.ports import Detector, Frame
    from helmet_agent.runtime import ModelSlot
    from helmet_agent.services.mining import MiningStage
    from helmet_agent.services.pipeline import Pipeline
    from helmet_agent.vision.mining import Rule


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model that is ready to serve, and the mining rules that come with it.

    ``witness`` is the same network with a decoder of its own, so that another thread may ask it. ``folder`` has the
    golden frames; None: the model from before the first swap.
    """

    detector: Detector
    rules: tuple[Rule, ...]
    witness: Detector | None = None
    folder: Path | None = None


class SwappedModel:
    """Implements ``services.live_model.LiveModel`` over the slot that the pipeline reads.

    Args:
        config: thresholds and rules of the configuration hold for every model.
        slot: the live model.
        pipeline: counts what it does.
        mining: judges by the rules of the live manifest.
        latest: the latest frames.
    """

    def __init__(
        self,
        config: AgentConfig,
        slot: ModelSlot,
        pipeline: Pipeline,
        mining: MiningStage | None,
        latest: LatestFrames,
    ) -> None:
        self._config = config
        self._slot = slot
        self._pipeline = pipeline
        self._mining = mining
        self._latest = latest
        self._lock = threading.Lock()
        self._ready: _Loaded | None = None
        self._before: _Loaded | None = None
        self._serving = _Loaded(slot.current, () if mining is None else mining.rules)
        self._judged: Frame | None = None

    def load(self, folder: Path) -> None:
        """Gets another model ready: loaded, warm, and right about its golden frames.

        Raises:
            ModelError, ConfigError: it cannot serve here.
        """
        self._ready = self._loaded(folder)

    def swap(self) -> None:
        """Lets the one that is ready serve from the next frame on; the one before it stays loaded.

        Raises:
            ModelError: none is ready.
        """
        with self._lock:
            ready, self._ready = self._ready, None
            if ready is None:
                raise ModelError("no model is ready to be swapped in")
            self._before = self._serve(ready)

    def keep(self, folder: Path) -> None:
        """Loads the model to go back to, where none is loaded.

        Raises:
            ModelError, ConfigError: it cannot serve here.
        """
        if self._before is None:
            loaded = self._loaded(folder)
            with self._lock:
                self._before = loaded

    def back(self) -> bool:
        """Lets the one before serve again; False when it was let go."""
        with self._lock:
            before, self._before = self._before, None
            if before is None:
                return False
            self._serve(before)
            return True

    def settle(self) -> None:
        """Lets go of the one before; its memory is free as soon as the last frame that it looked at is done."""
        with self._lock:
            self._before = None
        _give_back_memory()

    def vitals(self) -> Vitals:
        """The pipeline's totals."""
        counters = self._pipeline.counters
        return Vitals(
            counters.frames,
            counters.failures,
            sum(list(counters.detections.values())),
            self._pipeline.inference.summary().total_seconds,
        )

    def opinion(self) -> Opinion | None:
        """What the one before makes of the latest frame; None when there is no such model or new frame.

        Raises:
            ModelError: it fails.
        """
        before, latest = self._before, self._latest.get(None)
        if before is None or latest is None or latest.frame is self._judged:
            return None
        self._judged = latest.frame
        prepared = before.detector.prepare(latest.frame.image)
        started = time.monotonic()
        outputs = before.detector.run(prepared)
        seconds = time.monotonic() - started
        found = before.detector.decode(outputs, prepared.transform)
        if latest.report.model != self._slot.current.manifest.model.sha256:
            return Opinion(len(found), seconds)
        return Opinion(len(found), seconds, len(latest.report.detections), latest.inference_seconds)

    def golden_problems(self) -> Sequence[str]:
        """What is wrong with what the serving model makes of its golden frames now; empty when nothing is."""
        serving = self._serving
        return () if serving.witness is None or serving.folder is None else probe(serving.witness, serving.folder)

    def _loaded(self, folder: Path) -> _Loaded:
        detector = load_detector(self._config, folder)
        rules = mining_rules(self._config, detector.manifest)
        return _Loaded(detector, rules, detector.another(), folder)

    def _serve(self, loaded: _Loaded) -> _Loaded:
        old, self._serving = self._serving, loaded
        self._slot.swap(loaded.detector)
        if self._mining is not None:
            self._mining.use_rules(loaded.rules)
        return old


def _give_back_memory() -> None:
    """Lets the C library return what the old model left free; it would keep a few MiB more with every swap."""
    with contextlib.suppress(OSError, AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)
