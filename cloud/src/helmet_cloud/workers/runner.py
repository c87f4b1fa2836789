# SPDX-License-Identifier: Apache-2.0
"""Train and eval workers as processes of this machine, each under its own guard (see guard.py)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent.durable import make_folder, reported
from helmet_agent.errors import StorageError
from helmet_cloud.errors import Conflict, HubError
from helmet_cloud.ports import WorkerReport, WorkerSpec, WorkerState
from helmet_cloud.store.worker_reports import WorkerReports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helmet_cloud.store.database import Database

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "train": (sys.executable, "-m", "helmet_cloud.workers.train"),
    "eval": (sys.executable, "-m", "helmet_cloud.workers.eval"),
}
SCRIPTS = {"train.py": "train", "eval.py": "eval"}
"""What ``args: ["train.py"]`` of a job's template means here: the kind of worker that does the same."""

GUARD = Path(__file__).with_name("guard.py")
MARK = "HELMET_HUB"
"""Environment variable that tells whose worker a process is: the hub's database."""

LOG_BYTES = 4 << 20
GRACE_SECONDS = 10.0
KILL_SECONDS = 5.0  # a guard that does not end so long after the grace is stuck, and killed
NICENESS = 10

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(slots=True)
class _Running:
    guard: subprocess.Popen[bytes]
    log: Path
    outcome: Path
    stopped: str | None = None


class ProcessRunner:
    """Implements ``ports.WorkerRunner``; safe to use from any thread.

    Making one first ends whatever an earlier hub on the same database left running.

    Args:
        database: keeps the reports.
        lc_server: where workers report to, such as ``http://127.0.0.1:9100``.
        programs: the command by kind of worker.
        niceness: added to the hub's own, so that a node on the same machine goes first.
        log_bytes: size limit of a worker's log.
        grace_seconds: between SIGTERM and SIGKILL; a train worker saves its state meanwhile.
    """

    def __init__(
        self,
        database: Database,
        lc_server: str,
        *,
        programs: Mapping[str, Sequence[str]] = PROGRAMS,
        niceness: int = NICENESS,
        log_bytes: int = LOG_BYTES,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._reports = WorkerReports(database)
        self._lc_server = lc_server.rstrip("/")
        self._programs = programs
        self._niceness = niceness
        self._log_bytes = log_bytes
        self._grace = grace_seconds
        self._mark = str(database.path.resolve())
        self._workers: dict[str, _Running] = {}
        self._lock = threading.Lock()
        sweep(self._mark)

    def start(self, spec: WorkerSpec) -> None:
        """Starts a worker; returns at once.

        Raises:
            Conflict: the name was used before.
            HubError: there is no program for its kind, or it cannot be started.
        """
        if spec.kind not in self._programs:
            raise HubError(f"worker {spec.name}: no program for kind {spec.kind!r}")
        if "/" in spec.name or spec.name.startswith("."):
            raise HubError(f"worker {spec.name!r}: a name cannot hold a slash or begin with a dot")
        log, outcome = spec.folder / f"{spec.name}.log", spec.folder / f"{spec.name}.outcome.json"
        with self._lock:
            if spec.name in self._workers:
                raise Conflict(f"worker {spec.name} was started before; names are used once")
            try:
                make_folder(spec.folder)
                with reported("write", log):
                    log.touch(mode=0o640)
            except StorageError as error:
                raise HubError(f"worker {spec.name}: {error}") from error
            self._reports.register(spec.name, spec.job, spec.kind)  # first: it may report before this call returns
            try:
                guard = subprocess.Popen(  # noqa: S603 - our own program
                    self._command(spec, log, outcome),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=self._environment(spec),
                    cwd=spec.folder,
                    start_new_session=True,
                    bufsize=0,
                )
            except OSError as error:
                raise HubError(f"worker {spec.name} cannot be started: {error}") from error
            self._workers[spec.name] = _Running(guard, log, outcome)

    def _command(self, spec: WorkerSpec, log: Path, outcome: Path) -> list[str]:
        options = {
            "log": log.resolve(),
            "log-bytes": self._log_bytes,
            "outcome": outcome.resolve(),
            "timeout-seconds": spec.timeout_seconds,
            "memory-bytes": spec.memory_bytes,
            "grace-seconds": self._grace,
            "nice": self._niceness,
        }
        given = [f"--{name}={value}" for name, value in options.items()]
        # -I -S: nothing of the surroundings can break the guard
        return [sys.executable, "-I", "-S", str(GUARD), *given, "--", *self._programs[spec.kind]]

    def _environment(self, spec: WorkerSpec) -> dict[str, str]:
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        named = {
            "NAMESPACE": spec.job.namespace,
            "JOB_NAME": spec.job.name,
            "HELMET_CHECKPOINT_DIR": str(spec.folder.resolve()),
        }
        ours = {"WORKER_NAME": spec.name, "LC_SERVER": self._lc_server, MARK: self._mark, "PYTHONUNBUFFERED": "1"}
        return passed | named | dict(spec.environment) | ours

    def state(self, name: str) -> WorkerState | None:
        """What became of a worker; None when this runner never started it."""
        with self._lock:
            found = self._workers.get(name)
        if found is None:
            return None
        if found.guard.poll() is None:
            return WorkerState(running=True, exit_code=None, reason=None, log=found.log)
        try:
            outcome = json.loads(found.outcome.read_bytes())
            exit_code, reason = outcome["exit_code"], outcome["reason"]
        except (OSError, ValueError, LookupError, TypeError):
            exit_code, reason = None, found.stopped or "its guard was killed"
        return WorkerState(running=False, exit_code=exit_code, reason=reason, log=found.log)

    def stop(self, name: str, reason: str) -> None:
        """Ends a worker and all its children, and waits until they are gone; idempotent.

        Takes up to ``grace_seconds`` and a little more.
        """
        with self._lock:
            found = self._workers.get(name)
        if found is None:
            return
        line = " ".join(reason.split())[:500] or "stopped"
        found.stopped = found.stopped or line
        with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
            if found.guard.stdin is not None:
                found.guard.stdin.write(line.encode() + b"\n")
        try:
            found.guard.wait(self._grace + KILL_SECONDS)
        except subprocess.TimeoutExpired:
            found.guard.kill()
            found.guard.wait()
            sweep(self._mark, name)

    def reports(self, name: str) -> tuple[WorkerReport, ...]:
        """All that it said, in order."""
        return self._reports.of(name)

    def close(self, reason: str = "the hub stops") -> None:
        """Ends all workers."""
        with self._lock:
            running = [name for name, found in self._workers.items() if found.guard.poll() is None]
        threads = [threading.Thread(target=self.stop, args=(name, reason)) for name in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def sweep(mark: str, worker: str | None = None) -> list[int]:
    """Kills the processes of a hub's workers that outlived it, and waits until they are gone; returns their ids.

    Args:
        mark: the hub's database; processes of other hubs are left alone.
        worker: only those of this worker.
    """
    wanted = {f"{MARK}={mark}".encode()} | ({f"WORKER_NAME={worker}".encode()} if worker else set())
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # gone, or another user's
            if wanted <= set(Path(entry.path, "environ").read_bytes().split(b"\0")):
                os.kill(int(entry.name), signal.SIGKILL)
                found.append(int(entry.name))
    deadline = time.monotonic() + KILL_SECONDS
    while any(_alive(pid) for pid in found) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return False
