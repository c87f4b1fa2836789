# SPDX-License-Identifier: Apache-2.0
"""The process between the hub and a worker: it keeps the log, holds the limits, and leaves nobody behind.

Standard library only, and started as a plain file, so that it takes 10 MB and works whatever state the rest is in. Its
standard input is a pipe from the hub: a line ends the worker and is the reason; end of file says that the hub is gone,
and the worker is killed at once. All descendants of the worker, those that left its session included, are adopted by
this process (PR_SET_CHILD_SUBREAPER) and end with it. Should somebody kill this process, the kernel kills the worker
(PR_SET_PDEATHSIG); both belong to a single thread here, which the hub could not promise.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
LOOK_EVERY_SECONDS = 0.2
CHUNK = 1 << 16
LEFT_OUT = b"[... earlier output left out ...]\n"

_libc = ctypes.CDLL(None, use_errno=True)
_PAGE = os.sysconf("SC_PAGE_SIZE")


class BoundedLog:
    """A log file that never exceeds a size: what is too much goes from its beginning, half of it at a time.

    Args:
        path: the file; it is begun anew.
        limit: bytes, more than a few hundred.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._size = 0
        self._stream = path.open("wb", buffering=0)

    def write(self, content: bytes) -> None:
        """Appends; a full disk loses output rather than the worker."""
        content = content[-self._limit // 2 :]
        with contextlib.suppress(OSError):
            if self._size + len(content) > self._limit:
                self._shorten(len(content))
            self._stream.write(content)
            self._size += len(content)

    def _shorten(self, coming: int) -> None:
        room = max(0, self._limit // 2 - coming - len(LEFT_OUT))
        kept = self._path.read_bytes()[-room:] if room else b""
        kept = LEFT_OUT + kept[kept.find(b"\n") + 1 :]
        temporary = self._path.with_name(f".tmp-{self._path.name}")
        temporary.write_bytes(kept)
        temporary.rename(self._path)
        self._stream.close()
        self._stream = self._path.open("ab", buffering=0)
        self._size = len(kept)


def descendants() -> list[int]:
    """All processes below this one, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # the command's name stands in brackets and may hold anything
                after = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                children.setdefault(int(after[1]), []).append(int(entry.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def resident_bytes(pids: list[int]) -> int:
    """Resident memory of these processes together; pages that they share count for each."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    return pages * _PAGE


def send(pids: list[int], number: signal.Signals) -> None:
    """Signals all of them; those that are gone already are fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class Guard:
    """One worker from start to end.

    Args:
        options: see ``main``.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._log = BoundedLog(options.log, options.log_bytes)
        self._reason: str | None = None
        self._kill_at: float | None = None
        self.peak_bytes = 0

    def run(self) -> dict[str, object]:
        """Starts the worker and waits for its end; says how that was."""
        started = time.monotonic()
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._told)
        options = self._options
        try:
            child = subprocess.Popen(  # noqa: S603 - the hub says what to run
                options.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._prepare,  # noqa: PLW1509 - this process has one thread
            )
        except (OSError, subprocess.SubprocessError) as error:
            return {"exit_code": None, "reason": f"cannot be started: {error}", "peak_bytes": 0, "seconds": 0.0}
        exit_code = self._watch(child, started + options.timeout_seconds)
        self._end_rest(child)
        return {
            "exit_code": exit_code,
            "reason": self._reason,
            "peak_bytes": self.peak_bytes,
            "seconds": round(time.monotonic() - started, 3),
        }

    def _prepare(self) -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.nice(self._options.nice)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):
            # when the machine runs out of memory the worker goes, not the hub
            Path("/proc/self/oom_score_adj").write_text("800")

    def _told(self, number: int, _frame: FrameType | None) -> None:
        self._end(f"ended by {signal.Signals(number).name}")

    def _end(self, reason: str, *, at_once: bool = False) -> None:
        """Asks the worker to end, and sees to it that it does; the first reason counts."""
        first = self._kill_at is None
        if first:
            self._reason = reason
        grace = 0.0 if at_once else self._options.grace_seconds
        self._kill_at = min(self._kill_at or float("inf"), time.monotonic() + grace)
        if first and not at_once:
            send(descendants(), signal.SIGTERM)

    def _watch(self, child: subprocess.Popen[bytes], deadline: float) -> int:
        assert child.stdout is not None  # noqa: S101 - it was asked for
        output, control, ended = child.stdout.fileno(), sys.stdin.fileno(), os.pidfd_open(child.pid)
        os.set_blocking(output, False)
        readers = {output: self._copy, control: self._listen}
        with selectors.DefaultSelector() as selector:
            for descriptor in (*readers, ended):
                selector.register(descriptor, selectors.EVENT_READ)
            while child.poll() is None:
                for key, _ in selector.select(LOOK_EVERY_SECONDS):
                    if key.fd in readers and not readers[key.fd](key.fd):
                        selector.unregister(key.fd)
                self._look(deadline)
        self._copy(output)
        os.close(ended)
        return int(child.returncode)

    def _copy(self, descriptor: int) -> bool:
        """Output into the log; False at its end."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(descriptor, CHUNK):
                self._log.write(chunk)
                if len(chunk) < CHUNK:
                    return True
            return False
        return True

    def _listen(self, descriptor: int) -> bool:
        """The hub's word; False once there can be no more."""
        said = os.read(descriptor, CHUNK)
        if said:
            self._end(said.decode(errors="replace").splitlines()[0])
        else:
            self._end("the hub is gone", at_once=True)
        return bool(said)

    def _look(self, deadline: float) -> None:
        now = time.monotonic()
        pids = descendants()
        used = resident_bytes(pids)
        self.peak_bytes = max(self.peak_bytes, used)
        if used > self._options.memory_bytes:
            limit = self._options.memory_bytes >> 20
            self._end(f"memory: {used >> 20} MiB are more than the limit of {limit} MiB", at_once=True)
        if now > deadline:
            self._end(f"timeout after {self._options.timeout_seconds:g} s")
        if self._kill_at is not None and now >= self._kill_at:
            send(pids, signal.SIGKILL)

    def _end_rest(self, child: subprocess.Popen[bytes]) -> None:
        """Whatever the worker left running goes too."""
        while rest := descendants():
            send(rest, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.01)
        if child.stdout is not None:
            self._copy(child.stdout.fileno())
        if self._reason is not None:
            self._log.write(f"[ended: {self._reason}]\n".encode())


def main() -> int:
    """The program; its exit code says nothing, the outcome file does."""
    parser = argparse.ArgumentParser(prog="guard", description="Run a worker under limits.")
    parser.add_argument("--log", type=Path, required=True, help="file for what the worker prints")
    parser.add_argument("--log-bytes", type=int, required=True, help="size limit of that file")
    parser.add_argument("--outcome", type=Path, required=True, help="file for how it ended, JSON")
    parser.add_argument("--timeout-seconds", type=float, required=True, help="after which it is ended")
    parser.add_argument("--memory-bytes", type=int, required=True, help="limit of its resident memory, children too")
    parser.add_argument("--grace-seconds", type=float, required=True, help="between SIGTERM and SIGKILL")
    parser.add_argument("--nice", type=int, default=0, help="lowered priority")
    parser.add_argument("command", nargs="+", help="what to run")
    options = parser.parse_args()
    outcome = Guard(options).run()
    temporary = options.outcome.with_name(f".tmp-{options.outcome.name}")
    temporary.write_text(json.dumps(outcome))
    temporary.rename(options.outcome)
    return 0


if __name__ == "__main__":
    sys.exit(main())
