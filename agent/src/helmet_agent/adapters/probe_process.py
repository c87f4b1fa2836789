# SPDX-License-Identifier: Apache-2.0
"""Tries models in a child process, so that one that crashes, hangs or eats memory does it there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from helmet_agent.errors import UpdateError
from helmet_agent.ports import ProbeReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LOOK_SECONDS = 0.1
PATIENCE = 10.0
"""How many times its CPU time the child may take by the clock: at the lowest priority it waits for everybody."""

_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS")
_MODEL_STAGES = ("load", "golden frames", "beside the current model")
_LONGEST_REASON = 300


class ProbeProcess:
    """Implements ``ports.ModelProbe``.

    Args:
        command: makes the child's command line from the two model folders; may raise UpdateError.
        cpu_seconds: what the child allows itself.
    """

    def __init__(self, command: Callable[[Path, Path], Sequence[str]], cpu_seconds: float) -> None:
        self._command = command
        self._cpu_seconds = cpu_seconds
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ends a trial that is going on; from any thread."""
        self._cancelled.set()

    def run(self, candidate: Path, current: Path) -> ProbeReport:
        """Tries the model of one folder beside that of another.

        Raises:
            UpdateError: it could not be tried; nothing is known of the model.
        """
        command = self._command(candidate, current)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            try:
                child = subprocess.Popen(  # noqa: S603 - our own program
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=errors,
                    env=_environment(),
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise UpdateError(f"a new model could not be tried: no process could be started: {error}") from error
            try:
                self._wait(child)
            finally:
                child.kill()
                child.wait()
            out.seek(0)
            errors.seek(0)
            return _report(child.returncode, out.read(), errors.read().decode(errors="replace"), self._cpu_seconds)

    def _wait(self, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE * self._cpu_seconds
        while True:
            try:
                child.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                if self._cancelled.is_set():
                    raise UpdateError("trying a new model was called off") from None
                if time.monotonic() > deadline:
                    raise UpdateError(
                        f"trying a new model took more than {PATIENCE * self._cpu_seconds:.0f} s: this machine is too "
                        "busy; trying again later"
                    ) from None
            else:
                return


def _environment() -> dict[str, str]:
    alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    ours = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    return ours | alone


def _report(code: int, out: bytes, errors: str, cpu_seconds: float) -> ProbeReport:
    lines = _lines(out)
    stage = next((str(line["stage"]) for line in reversed(lines) if "stage" in line), "")
    if code == 0 and lines and "problems" in lines[-1]:
        last = lines[-1]
        return ProbeReport(
            tuple(str(problem) for problem in last["problems"]),
            float(last.get("latency_seconds", 0.0)),
            float(last.get("current_latency_seconds", 0.0)),
            int(last.get("memory_bytes", 0)),
        )
    if code < 0 and stage in _MODEL_STAGES:
        name = signal.Signals(-code).name
        if name == "SIGXCPU":
            return ProbeReport((f"took more than {cpu_seconds:g} s of CPU time, at {stage}",))
        if name in _CRASHES:
            return ProbeReport((f"crashed the process that tried it ({name}), at {stage}",))
    said = errors.strip().splitlines()[-1:] or ["it said nothing"]
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    raise UpdateError(f"a new model could not be tried: its process ended {how}: {said[0][:_LONGEST_REASON]}")


def _lines(out: bytes) -> list[dict[str, Any]]:
    found = []
    for line in out.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            found.append(document)
    return found
