# SPDX-License-Identifier: Apache-2.0
"""A running agent whose disk, memory and processors are taken away, seen from outside."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmet_agent.adapters.model_store import ModelStore
from helmet_agent.services.update_journal import replay
from helmet_agent.services.update_state import Phase, UpdateState

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACE = ("unshare", "--mount")
FREE_FILE = "taken"
_STEP = re.compile(r"step='([a-z_]+ [0-9]+)'")


class StarvedAgent:
    """``helmet-agent run`` with its data on a file system of its own.

    Args:
        config: with ``data_dir`` below ``disk``.
        disk: where ``mount`` mounts, in a namespace of the agent's own.
        mount: a shell command.
        group: a control group to run in.
    """

    def __init__(self, config: Path, disk: Path, mount: str = "true", group: Path | None = None) -> None:
        self._place = disk
        enter = f"echo $$ > {group}/cgroup.procs && " if group else ""
        command = shlex.join((sys.executable, "-m", "helmet_agent", "run", "--config", str(config), "--json"))
        self.process = subprocess.Popen(
            (*NAMESPACE, "sh", "-c", f"{enter}{mount} && exec {command}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.arrived: list[float] = []
        self.models: set[str] = set()
        self.log: list[str] = []
        for read in (self._read_frames, self._read_log):
            threading.Thread(target=read, daemon=True).start()

    @property
    def disk(self) -> Path:
        """The agent's file system, seen from outside of its namespace."""
        return Path(f"/proc/{self.process.pid}/root{self._place}")

    def until(self, reached: Callable[[], object], seconds: float = 60.0) -> float:
        """Waits for something; how long it took."""
        started = time.monotonic()
        while not reached():
            waited = time.monotonic() - started
            text = "".join(self.log)
            assert self.process.poll() is None, text
            assert waited < seconds, f"not reached; {self.state()}\n{text}"
            time.sleep(0.1)
        return time.monotonic() - started

    def rate(self, seconds: float) -> float:
        """Frames a second that the network looks at in the next so many seconds."""
        before = len(self.arrived)
        time.sleep(seconds)
        return (len(self.arrived) - before) / seconds

    def state(self) -> UpdateState | None:
        """What the updater's journal adds up to."""
        store = ModelStore(self.disk / "data" / "models", read_only=True)
        return replay(store.journal())

    def confirmed(self, sha256: str) -> bool:
        state = self.state()
        return state is not None and state.phase is Phase.IDLE and state.current.sha256 == sha256

    def blamed(self) -> list[str]:
        """Models in quarantine, with the reason."""
        state = self.state()
        return [] if state is None else [f"{one.model.sha256}: {one.reason}" for one in state.quarantined]

    def examples(self) -> int:
        """How many examples lie in the spool."""
        return sum(1 for _ in (self.disk / "data" / "spool").glob("??/*.json"))

    def said(self, words: str) -> bool:
        return any(words in line for line in self.log)

    def faults(self) -> int:
        """How often the updater said that a step of a model did not work."""
        return sum("models: " in line and "trying again" in line for line in self.log)

    def steps(self) -> list[str]:
        """What the memory governor did, in order, such as ``no_preview 1``."""
        lines = [line for line in self.log if "what is shed has changed" in line]
        return [found[1] for found in map(_STEP.search, lines) if found is not None]

    def take_blocks(self) -> None:
        with (self.disk / FREE_FILE).open("wb") as file:
            while (facts := os.statvfs(self.disk)).f_bfree:
                with contextlib.suppress(OSError):  # the agent was faster
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, facts.f_bfree * facts.f_frsize)

    def take_inodes(self) -> None:
        folder = self.disk / FREE_FILE
        folder.mkdir()
        names = itertools.count()
        while os.statvfs(self.disk).f_ffree:
            with contextlib.suppress(OSError):  # as above
                (folder / str(next(names))).touch()

    def give_back(self) -> None:
        path = self.disk / FREE_FILE
        if path.is_dir():
            for each in path.iterdir():
                each.unlink()
            path.rmdir()
        else:
            path.unlink()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)

    def _read_frames(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            frame: dict[str, Any] = json.loads(line)
            self.models.add(frame["model"])
            self.arrived.append(time.monotonic())

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)
