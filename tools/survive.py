# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of the ten promises of docs/reliability.md and prints one line each, with its figures.

The tests carry the marker ``survive`` and note what they measured with
``record_property("survive", "item N: what was measured")``. The suites of ``make test`` run them, so CI does not
do it twice. HELMET_SOAK=1 in the environment asks for the long setting.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).resolve().parent.parent
ITEMS: Mapping[int, str] = {
    1: "kill -9 and power cuts",
    2: "sixteen bad artefacts",
    3: "health after the swap",
    4: "staged rollout",
    5: "networks",
    6: "clocks",
    7: "keys",
    8: "resources",
    9: "strangers",
    10: "doctor",
}
GROUPS = (("agent/tests", ()), ("cloud/tests", ("-n", "auto")))
"""As in the suites of tools/run_tests.py: what measures the agent has the machine to itself."""

JUNIT = ("-o", "junit_family=xunit1")
"""The newer form has no place for what a test notes, and pytest warns of each."""

SOAK_TIMEOUT_SECONDS = 7200
_NOTE = re.compile(r"item (\d+): (.+)", re.DOTALL)
_NO_TESTS = 5


@dataclass
class Item:
    """What became of one promise.

    Attributes:
        tests: how many tests noted something for it.
        failed: names of those that failed.
        skipped: reasons of those that this machine cannot run.
        seconds: of all of them.
        notes: the figures.
    """

    tests: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """``kept``, ``BROKEN``, ``in part`` or ``untested``."""
        if self.failed:
            return "BROKEN"
        if not self.tests:
            return "untested"
        return "in part" if self.skipped else "kept"


def read(reports: Iterable[Path]) -> dict[int, Item]:
    """Items by number from JUnit files; what failed or was skipped before it noted anything is item 0."""
    items = {number: Item() for number in (0, *ITEMS)}
    for report in reports:
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it just now
            _take(items, case)
    return items


def _take(items: dict[int, Item], case: ET.Element) -> None:
    notes = [one.get("value", "") for one in case.iter("property") if one.get("name") == "survive"]
    found = [match for match in map(_NOTE.match, notes) if match is not None]
    numbers = {number for number in (int(match[1]) for match in found) if number in ITEMS} or {0}
    skipped = case.find("skipped")
    bad = case.find("failure") is not None or case.find("error") is not None
    for number in numbers:
        item = items[number]
        item.seconds += float(case.get("time", "0"))
        item.tests += skipped is None
        if bad:
            item.failed.append(case.get("name", "?"))
        if skipped is not None:
            item.skipped.append(f"{case.get('name')}: {skipped.get('message', '')}")
    for match in found:
        if int(match[1]) in ITEMS:
            items[int(match[1])].notes.append(" ".join(match[2].split()))


def table(items: Mapping[int, Item]) -> str:
    """One line for each promise; then what cannot be counted to one."""
    lines = []
    for number, name in ITEMS.items():
        item = items[number]
        figures = "; ".join(item.notes) or "-"
        lines.append(f"{number:>2}  {name:<22}  {item.state:<8}  {item.seconds:>5.0f} s  {figures}")
        lines += [f"      failed: {test}" for test in item.failed]
    lines += [f"      failed: {test}" for test in items[0].failed]
    lines += [f"      left out: {why}" for item in items.values() for why in item.skipped]
    return "\n".join(lines)


def kept(items: Mapping[int, Item]) -> bool:
    """Whether every promise was tested, whole, and holds."""
    return not items[0].failed and not items[0].skipped and all(items[number].state == "kept" for number in ITEMS)


def main() -> int:
    """Runs the tests; 0 when all ten promises hold."""
    soak = bool(os.environ.get("HELMET_SOAK"))
    started = time.monotonic()
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        reports = []
        for number, (tests, options) in enumerate(GROUPS):
            report = Path(folder) / f"{number}.xml"
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-m",
                "survive",
                *JUNIT,
                f"--junitxml={report}",
                *options,
                tests,
            ]
            if soak:
                command.append(f"--timeout={SOAK_TIMEOUT_SECONDS}")
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            broken |= code not in (0, _NO_TESTS)
            reports += [report] if report.exists() else []
        items = read(reports)
    print(f"\n{'long' if soak else 'short'} setting, {time.monotonic() - started:.0f} s in all\n{table(items)}")
    return 0 if kept(items) and not broken else 1


if __name__ == "__main__":
    sys.exit(main())
