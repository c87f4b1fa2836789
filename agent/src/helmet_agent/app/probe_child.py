# SPDX-License-Identifier: Apache-2.0
"""Tries a model in a process of its own: ``python -m helmet_agent.app.probe_child JSON``.

It works at the lowest priority, on one thread, under a limit of memory and of CPU time, and ends with its parent. Each
stage is announced on a line of standard output before it begins, so that whoever started it knows what a crash was due
to; the last line is the report.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_agent.detector import HelmetDetector
    from helmet_agent.ports import BgrImage

NICE = 19
PAIRS = 20
"""So often each model looks at a golden frame, in turn, for the comparison of their times."""

ROOM_SECONDS = 0.002
"""A difference in time below this says nothing."""

ROOM_BYTES = 8 << 20
"""A difference in memory below this says nothing."""

_PR_SET_PDEATHSIG = 1
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ProbeTask:
    """What to do.

    Attributes:
        candidate, current: model folders.
        allowance_bytes: memory that each of the two models may take on top of the program itself.
        limit_bytes: memory that the agent may take in all; None: nobody set a limit.
        cpu_seconds: CPU time of the whole trial.
        max_latency_ratio: slower than the current model by more than this factor is too slow.
        max_memory_ratio: more memory than the current model takes, by more than this factor, is too much.
    """

    candidate: str
    current: str
    allowance_bytes: int
    limit_bytes: int | None
    cpu_seconds: int
    max_latency_ratio: float
    max_memory_ratio: float


def main(arguments: list[str]) -> int:
    """Runs one task and prints its report."""
    task = ProbeTask(**json.loads(arguments[0]))
    _be_modest(task.cpu_seconds)
    from helmet_agent.adapters.litert import load_manifest, load_model  # noqa: PLC0415 - loads everything, after the modesty
    from helmet_agent.detector import HelmetDetector, probe  # noqa: PLC0415 - as above
    from helmet_agent.errors import AgentError  # noqa: PLC0415 - as above

    folder = Path(task.candidate)
    report: dict[str, Any] = {"problems": []}
    _say(stage="load")
    _allow(task.allowance_bytes)
    before = _own_bytes()
    try:
        report["problems"] += _elsewhere(load_manifest(folder).devices)
        candidate = HelmetDetector(load_model(folder))
        _say(stage="golden frames")
        report["problems"] += probe(candidate, folder)
    except AgentError as error:
        report["problems"].append(str(error))
    except MemoryError:
        report["problems"].append(f"does not fit in the {task.allowance_bytes // _MIB} MiB that there are for it")
    if not report["problems"]:
        report["memory_bytes"] = _peak_bytes()
        report["problems"] += _too_big(report["memory_bytes"], candidate, task.limit_bytes)
        report |= _beside_the_current(task, candidate, _own_bytes() - before, report["problems"])
    _say(**report)
    return 0


def _beside_the_current(
    task: ProbeTask, candidate: HelmetDetector, taken: int, problems: list[str]
) -> dict[str, float]:
    """Compares the two models' times and memory; what is wrong goes to the problems. Returns the times."""
    from helmet_agent.adapters.litert import load_model  # noqa: PLC0415 - after the modesty
    from helmet_agent.detector import HelmetDetector  # noqa: PLC0415 - as above
    from helmet_agent.errors import AgentError  # noqa: PLC0415 - as above

    _say(stage="current model")
    # Room of its own: or else it could not be loaded beside one that takes nearly all, and nothing would be compared.
    _allow(task.allowance_bytes)
    before = _own_bytes()
    try:
        current = HelmetDetector(load_model(Path(task.current)))
        _say(stage="beside the current model")
        new, old = _times(candidate, current, _picture(candidate, Path(task.candidate)))
    except (AgentError, MemoryError):  # says nothing about the new one
        return {}
    problems += _too_slow(new, old, task.max_latency_ratio)
    problems += _too_hungry(taken, _own_bytes() - before, task.max_memory_ratio)
    return {"latency_seconds": new, "current_latency_seconds": old}


def _be_modest(cpu_seconds: int) -> None:
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _allow(more_bytes: int) -> None:
    """So much memory on top of what is taken now; not more than whoever started this allows."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_bytes() + more_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def _say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0


def _data_bytes() -> int:
    return _status_bytes("VmData")


def _peak_bytes() -> int:
    return _status_bytes("VmHWM")


def _own_bytes() -> int:
    """Memory of no file: what a library's pages take when they are first used is no model's."""
    return _status_bytes("RssAnon")


def _elsewhere(devices: Sequence[str]) -> list[str]:
    if not devices or platform.machine() in devices:
        return []
    return [f"made for {', '.join(devices)}, this machine is {platform.machine()}"]


def _too_big(peak: int, candidate: HelmetDetector, limit: int | None) -> list[str]:
    promised = candidate.manifest.memory_bytes
    if peak > promised:
        return [f"takes {peak // _MIB} MiB of memory, its manifest promises at most {promised // _MIB}"]
    if limit is not None and promised > limit:
        return [f"may take {promised // _MIB} MiB of memory, this node's limit is {limit // _MIB}"]
    return []


def _times(candidate: HelmetDetector, current: HelmetDetector, picture: BgrImage) -> tuple[float, float]:
    """Medians of CPU time of one run each, in turn, so that whatever else goes on spoils both."""
    found: tuple[list[float], list[float]] = [], []
    prepared = candidate.prepare(picture), current.prepare(picture)
    for _ in range(PAIRS):
        for detector, ready, seconds in zip((candidate, current), prepared, found, strict=True):
            started = time.thread_time()
            detector.run(ready)
            seconds.append(time.thread_time() - started)
    return statistics.median(found[0]), statistics.median(found[1])


def _too_slow(new: float, old: float, ratio: float) -> list[str]:
    if new <= old * ratio + ROOM_SECONDS:
        return []
    return [
        f"takes {1000 * new:.1f} ms for a frame, the current model {1000 * old:.1f}: more than {ratio:g} times as long"
    ]


def _too_hungry(new: int, old: int, ratio: float) -> list[str]:
    if new <= old * ratio + ROOM_BYTES:
        return []
    both = f"takes {new // _MIB} MiB of memory for itself, the current model {old // _MIB}"
    return [f"{both}: more than {ratio:g} times as much"]


def _picture(candidate: HelmetDetector, folder: Path) -> BgrImage:
    import cv2  # noqa: PLC0415 - after the modesty
    import numpy as np  # noqa: PLC0415 - as above

    return np.asarray(cv2.imread(str(folder / candidate.manifest.golden[0].picture.name)), np.uint8)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
