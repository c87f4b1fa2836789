# SPDX-License-Identifier: Apache-2.0
"""A node's updater over real files, one life a line of standard input; a life may be told to be killed at a point.

Each line is a JSON object: ``do`` (what the life does after its start; ``take`` is an update without its probation),
``crash_at`` (the number of the point at which it sends itself SIGKILL, or null). The answer is one line: the points
that were passed, and how the life ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent.adapters.tuf_feed import Channel, FolderTransport, TufFeed
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.app.updates import make_updater, models_folder, open_models
from helmet_agent.config import load_config
from helmet_agent.errors import UpdateError
from helmet_agent.logs import configure_logging
from helmet_agent.ports import ProbeReport
from helmet_agent.services.probation import Vitals
from helmet_agent.services.update_state import Phase

if TYPE_CHECKING:
    from helmet_agent.services.updater import Updater


class Probe:
    """Refuses what the test says, without loading anything."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)

    def run(self, candidate: Path, current: Path) -> ProbeReport:
        assert (candidate / "manifest.json").is_file()
        assert (current / "manifest.json").is_file()
        return ProbeReport(self.problems)

    def cancel(self) -> None:
        pass


class Live:
    """Counts frames of a model that nobody looks at."""

    def __init__(self, failures: int) -> None:
        self.frames = self.failing = 0
        self.failures = failures

    def load(self, folder: Path) -> None:
        assert (folder / "model.tflite").is_file()

    keep = load

    def swap(self) -> None:
        self.failing = self.failures

    def back(self) -> bool:
        return True

    def settle(self) -> None:
        pass

    def vitals(self) -> Vitals:
        self.frames += 1000
        return Vitals(self.frames, self.failing * self.frames, self.frames, self.frames * 0.01)

    def opinion(self) -> None:
        return None

    def golden_problems(self) -> tuple[str, ...]:
        return ()


def act(updater: Updater, what: str, job: dict) -> None:
    if what == "update":
        updater.update()
        for _ in range(3):
            if updater.state.phase is Phase.LIVE:
                updater.watch()
    elif what == "take":
        with contextlib.suppress(UpdateError):
            updater.update()
    elif what == "unquarantine":
        updater.unquarantine(job["digest"])
    elif what == "rollback":
        updater.roll_back(job["leaving"])
    elif what == "goodbye":
        updater.say_goodbye()


def live(job: dict, config_file: Path, channel: Path, report: int) -> None:
    points: list[str] = []

    def reach(name: str) -> None:
        os.write(report, f"{name}\n".encode())
        points.append(name)
        if job["crash_at"] is not None and len(points) > job["crash_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    config, clock = load_config(config_file), SystemClock()
    models = open_models(config, clock, reach)
    models.book.begin()
    os.write(report, f"serves {models.book.state.current.key}\n".encode())
    settings = config.updates
    assert settings.root_file is not None
    feed = TufFeed(
        FolderTransport(channel),
        Channel(settings.follow or "", settings.ring, settings.root_file.read_bytes()),
        models.store.metadata_folder(),
        clock,
    )
    updater = make_updater(
        config, models, Live(job.get("failures", 0)), clock, feed=feed, probe=Probe(job.get("problems", []))
    )
    for what in job["do"]:
        act(updater, what, job)
    models.close()


def main() -> None:
    configure_logging("error")
    config_file, channel = Path(sys.argv[1]), Path(sys.argv[2])
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                live(json.loads(line), config_file, channel, writing)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as told:
            lines = told.read().splitlines()
        status = os.waitpid(child, 0)[1]
        answer = {"told": lines, "status": status, "folder": str(models_folder(load_config(config_file)))}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
