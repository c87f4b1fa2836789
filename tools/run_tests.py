# SPDX-License-Identifier: Apache-2.0
"""Runs the test suites that this machine can run and closes with a table: suite, run or left out, why.

A suite that cannot run here is left out with its reason; with CI set in the environment that is a failure.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PACKAGES = ROOT / "tests" / "apt-packages.txt"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SKIPPED = re.compile(r"^SKIPPED \[\d+\] (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Suite:
    """One line of the table.

    Attributes:
        name: what people call it.
        command: arguments, first the program.
        needs: Debian packages without which it is left out; see tests/apt-packages.txt.
        root: whether it needs root.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    root: bool = False


@dataclass
class Outcome:
    """What became of a suite."""

    suite: str
    state: str
    detail: str
    seconds: float = 0.0


def pytest(*arguments: str, parallel: bool = True) -> tuple[str, ...]:
    """A pytest command; parallel over the cores unless the suite starts servers or measures memory."""
    return (str(BIN / "pytest"), "-q", *(("-n", "auto") if parallel else ()), *arguments)


def molecule(scenario: str, needs: tuple[str, ...] = (), *, root: bool = False) -> Suite:
    """A molecule scenario; what it needs is a host of its own."""
    return Suite(f"molecule {scenario}", (str(BIN / "molecule"), "test", "--scenario-name", scenario), needs, root)


HOST_PACKAGES = ("podman", "runc", "mmdebstrap", "netavark", "aardvark-dns", "iptables", "openssh-client")
PLAIN = "not slow and not rtsp and not host and not training"
SUITES = (
    Suite("unit", pytest("agent/tests/unit", "-m", PLAIN)),
    Suite("integration", pytest("agent/tests/integration", "-m", "not rtsp and not host", parallel=False)),
    Suite("cameras", pytest("agent/tests", "-m", "rtsp", parallel=False), needs=("gir1.2-gst-rtsp-server-1.0",)),
    Suite("cloud", pytest("cloud/tests", "-m", "not training")),
    Suite("training", pytest("cloud/tests", "-m", "training", "--timeout=600", parallel=False)),
    Suite("repository", pytest("tests/repo", parallel=False)),
    Suite("demo", pytest("tests/demo", parallel=False)),
    *(molecule(scenario) for scenario in ("validate_inventory", "edge_node", "edge_models", "edge_video", "local")),
    molecule("sedna_jobs"),
    Suite("interrupted", pytest("tests/interrupted", parallel=False)),
    molecule("edge_images", (*HOST_PACKAGES[:2], "containerd"), root=True),
    *(
        molecule(scenario, HOST_PACKAGES, root=True)
        for scenario in ("edge_agent", "edge_agent_upgrade", "helmet_hub", "site")
    ),
    molecule("air_gap", HOST_PACKAGES, root=True),
)


def missing_for(suite: Suite) -> str:
    """Why the suite cannot run here; empty when it can."""
    if suite.root and os.geteuid() != 0:
        return "needs root"
    absent = [package for package in suite.needs if not _installed(package)]
    return f"Debian packages missing: {' '.join(absent)}" if absent else ""


def run(suite: Suite) -> Outcome:
    """Runs one suite, its output passed through."""
    reason = missing_for(suite)
    if reason:
        return Outcome(suite.name, "left out", reason)
    print(
        f"\n==> {suite.name}: {' '.join(Path(part).name if i == 0 else part for i, part in enumerate(suite.command))}"
    )
    started = time.monotonic()
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    lines: list[str] = []
    with subprocess.Popen(
        suite.command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    seconds = time.monotonic() - started
    if process.returncode != 0:
        return Outcome(suite.name, "FAILED", f"exit code {process.returncode}", seconds)
    skipped = _SKIPPED.findall("".join(lines))
    if skipped:
        return Outcome(suite.name, "left out", f"in part: {skipped[0]}", seconds)
    return Outcome(suite.name, "run", _last_summary(lines), seconds)


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
    outcomes = [run(suite) for suite in chosen]
    print(table(outcomes))
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
