# SPDX-License-Identifier: Apache-2.0
"""Runs the test suites that this machine can run and closes with a table: suite, run or left out, why.

A suite that cannot run here is left out with its reason; with CI set in the environment that is a failure.

Suites run in two lanes side by side: playbooks mostly wait, tests mostly compute. Within a lane they run one after the
other, so that two suites never want the same test hosts. What each printed is kept in build/test-logs; of a suite that
failed the decisive lines stand below the table. A single suite prints as it goes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LOGS = ROOT / "build" / "test-logs"
PACKAGES = ROOT / "tests" / "apt-packages.txt"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SKIPPED = re.compile(r"^SKIPPED \[\d+\] (.*)$", re.MULTILINE)
_DECISIVE = re.compile(r"^(FAILED|ERROR) |^E  |fatal: |failed: \[|\[ERROR\]|Traceback|Timeout|[Aa]ssertion")
_SHOWN_LINES = 25
_PROGRESS_SECONDS = 30.0


@dataclass(frozen=True)
class Suite:
    """One line of the table.

    Attributes:
        name: what people call it.
        command: arguments, first the program.
        needs: Debian packages without which it is left out; see tests/apt-packages.txt.
        root: whether it needs root.
        lane: suites of one lane run one after the other.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    root: bool = False
    lane: str = "tests"


@dataclass
class Outcome:
    """What became of a suite."""

    suite: str
    state: str
    detail: str
    seconds: float = 0.0
    decisive: tuple[str, ...] = ()


def pytest(*arguments: str, parallel: bool = True) -> tuple[str, ...]:
    """A pytest command; parallel over the cores unless the suite starts servers or measures memory."""
    return (str(BIN / "pytest"), "-q", *(("-n", "auto") if parallel else ()), *arguments)


def molecule(scenario: str, needs: tuple[str, ...] = (), *, root: bool = False, lane: str = "playbooks") -> Suite:
    """A molecule scenario; what it needs is a host of its own."""
    command = (str(BIN / "molecule"), "test", "--scenario-name", scenario)
    return Suite(f"molecule {scenario}", command, needs, root, lane)


def as_typed(command: tuple[str, ...]) -> str:
    """The command as a person would type it."""
    return " ".join([Path(command[0]).name, *command[1:]])


PLAYBOOKS = "playbooks"
ALONE = "alone"
"""Scenarios that promise a time: nothing runs beside them, after the lanes are done."""
HOST_PACKAGES = ("podman", "runc", "mmdebstrap", "netavark", "aardvark-dns", "iptables", "openssh-client")
PLAIN = "not slow and not rtsp and not host and not training"
SUITES = (
    Suite("unit", pytest("agent/tests/unit", "-m", PLAIN)),
    Suite("integration", pytest("agent/tests/integration", "-m", "not rtsp and not host", parallel=False)),
    Suite("cameras", pytest("agent/tests", "-m", "rtsp", parallel=False), needs=("gir1.2-gst-rtsp-server-1.0",)),
    Suite("cloud", pytest("cloud/tests", "-m", "not training")),
    Suite("training", pytest("cloud/tests", "-m", "training", "--timeout=600", parallel=False)),
    Suite("repository", pytest("tests/repo", parallel=False), lane=PLAYBOOKS),
    Suite("demo", pytest("tests/demo", parallel=False)),
    *(molecule(scenario) for scenario in ("validate_inventory", "edge_node", "edge_models", "edge_video", "local")),
    molecule("sedna_jobs"),
    Suite("interrupted", pytest("tests/interrupted", parallel=False), lane=PLAYBOOKS),
    molecule("edge_images", (*HOST_PACKAGES[:2], "containerd"), root=True),
    *(molecule(scenario, HOST_PACKAGES, root=True) for scenario in ("edge_agent", "helmet_hub")),
    *(molecule(scenario, HOST_PACKAGES, root=True, lane=ALONE) for scenario in ("edge_agent_upgrade", "site")),
    molecule("air_gap", HOST_PACKAGES, root=True),
    Suite("sedna", pytest("tests/sedna", "tests/containers", parallel=False), HOST_PACKAGES, root=True, lane=PLAYBOOKS),
    molecule("kubeedge_node", HOST_PACKAGES, root=True),
)


def missing_for(suite: Suite) -> str:
    """Why the suite cannot run here; empty when it can."""
    if suite.root and os.geteuid() != 0:
        return "needs root"
    absent = [package for package in suite.needs if not _installed(package)]
    return f"Debian packages missing: {' '.join(absent)}" if absent else ""


def run(suite: Suite, *, aloud: bool = True, logs: Path = LOGS) -> Outcome:
    """Runs one suite; what it prints goes to its log in ``logs`` and, ``aloud``, to the terminal."""
    reason = missing_for(suite)
    if reason:
        return Outcome(suite.name, "left out", reason)
    print(f"\n==> {suite.name}: {as_typed(suite.command)}", flush=True)
    started = time.monotonic()
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    lines: list[str] = []
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{suite.name.replace(' ', '-')}.log"
    with (
        log.open("w") as kept,
        subprocess.Popen(
            suite.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        for line in process.stdout or ():
            kept.write(line)
            kept.flush()
            lines.append(line)
            if aloud:
                sys.stdout.write(line)
                sys.stdout.flush()
    seconds = time.monotonic() - started
    if process.returncode != 0:
        detail = f"exit code {process.returncode}, {os.path.relpath(log, ROOT)}"
        return Outcome(suite.name, "FAILED", detail, seconds, decisive(lines))
    skipped = _SKIPPED.findall("".join(lines))
    if skipped:
        return Outcome(suite.name, "left out", f"in part: {skipped[0]}", seconds)
    return Outcome(suite.name, "run", _last_summary(lines), seconds)


def decisive(lines: Iterable[str]) -> tuple[str, ...]:
    """The last lines that look like a reason; the last ones of all where none does."""
    plain = [_ANSI.sub("", line).rstrip() for line in lines]
    found = [line for line in plain if _DECISIVE.search(line)] or plain
    return tuple(found[-_SHOWN_LINES:])


def run_lanes(suites: list[Suite], act: Callable[[Suite], Outcome]) -> list[Outcome]:
    """Runs the lanes side by side and says every half minute what is at work; the outcomes are in the suites' order."""
    outcomes: dict[str, Outcome] = {}
    at_work: dict[str, float] = {}

    def work(lane: str) -> None:
        for suite in (suite for suite in suites if suite.lane == lane):
            at_work[suite.name] = time.monotonic()
            try:
                outcome = act(suite)
            except OSError as error:
                outcome = Outcome(suite.name, "FAILED", f"could not be started: {error}")
            outcomes[suite.name] = outcome
            del at_work[suite.name]
            print(f"<== {suite.name}: {outcome.state}, {outcome.seconds:.0f} s, {outcome.detail}", flush=True)

    threads = [
        threading.Thread(target=work, args=(lane,), daemon=True)
        for lane in dict.fromkeys(suite.lane for suite in suites)
    ]
    for thread in threads:
        thread.start()
    told = time.monotonic()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.2)
        now = time.monotonic()
        if now - told >= _PROGRESS_SECONDS:
            told = now
            names = ", ".join(f"{name} ({now - since:.0f} s)" for name, since in list(at_work.items()))
            print(f"    {len(outcomes)} of {len(suites)} done; at work: {names}", flush=True)
    return [outcomes[suite.name] for suite in suites]


def run_all(suites: list[Suite], act: Callable[[Suite], Outcome]) -> list[Outcome]:
    """The lanes side by side, and after them what has to be alone."""
    beside = [suite for suite in suites if suite.lane != ALONE]
    alone = [suite for suite in suites if suite.lane == ALONE]
    return run_lanes(beside, act) + run_lanes(alone, act)


def table(outcomes: list[Outcome]) -> str:
    """The closing table."""
    width = max(len(outcome.suite) for outcome in outcomes)
    rows = [
        f"{outcome.suite:<{width}}  {outcome.state:<8}  {outcome.seconds:>5.0f} s  {outcome.detail}"
        for outcome in outcomes
    ]
    return "\n".join(["", f"{'suite':<{width}}  {'':<8}  {'':>7}  why or what", "-" * 100, *rows])


def main() -> int:
    """Runs all or the named suites."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="*", help=f"only these: {', '.join(suite.name for suite in SUITES)}")
    wanted = parser.parse_args().suite
    chosen = [suite for suite in SUITES if not wanted or suite.name in wanted]
    if not chosen:
        parser.error(f"no such suite: {', '.join(wanted)}")
    single = len(chosen) == 1
    outcomes = run_all(chosen, lambda suite: run(suite, aloud=single))
    print(table(outcomes))
    for outcome in outcomes:
        if outcome.decisive:
            print("\n".join([f"\n{outcome.suite}:", *(f"    {line}" for line in outcome.decisive)]))
    passed, failed, note = verdict(outcomes, in_ci=bool(os.environ.get("CI")))
    print(f"{note}\nsuites: {passed} passed, {failed} failed")
    return 1 if failed else 0


def verdict(outcomes: list[Outcome], *, in_ci: bool) -> tuple[int, int, str]:
    """How many suites passed and failed, and a note; in CI what was left out has failed."""
    states = [outcome.state for outcome in outcomes]
    failed, left_out = states.count("FAILED"), states.count("left out")
    note = "\nIn CI nothing may be left out." if in_ci and left_out else ""
    return states.count("run"), failed + (left_out if in_ci else 0), note


def _installed(package: str) -> bool:
    query = shutil.which("dpkg-query")
    if query is None:
        return False
    answer = subprocess.run(
        (query, "--show", "--showformat=${db:Status-Status}", package), capture_output=True, text=True, check=False
    )
    return answer.stdout == "installed"


def _last_summary(lines: list[str]) -> str:
    """The suite's own last count: pytest's closing line, or molecule's of its scenarios."""
    for line in reversed([_ANSI.sub("", line) for line in lines]):
        if re.search(r"\d+ passed|successful=\d+", line):
            return " ".join(line.strip(" =\n").split())
    return ""


if __name__ == "__main__":
    sys.exit(main())
