# SPDX-License-Identifier: Apache-2.0
"""Every command that the pages show is run here as printed, or named with who else runs it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PAGES = ("README.md", "CONTRIBUTING.md", "docs/quickstart.md", "docs/operations.md")

ELSEWHERE = {
    "ansible-playbook site.yml": "suite `demo`",
    "ansible-playbook -i inventory/lab site.yml": "suite `molecule site`, on machines with addresses that exist",
    "ansible-playbook -i inventory/lab playbooks/upgrade-agent.yml": "suite `molecule edge_agent_upgrade`, as above",
    "ansible-playbook -i inventory/lab playbooks/rollback-agent.yml": "suite `molecule edge_agent_upgrade`, as above",
    "ansible-playbook -i inventory/lab playbooks/remove-agent.yml": "suite `molecule edge_agent`, as above",
    "ansible-playbook -i inventory/lab playbooks/check-fleet.yml": "suite `interrupted`, on a node in a folder",
    "ansible-playbook -i inventory/lab playbooks/collect-diagnostics.yml": "suite `interrupted`, as above",
    "ansible-playbook playbooks/deploy-jobs.yml -e @jobs.yml": "suite `molecule sedna_jobs`, to a hub",
    "ansible-playbook playbooks/make-artifacts.yml": "suite `molecule air_gap`, for the host's kind",
    "make demo": "suite `demo`, by the script behind it",
    "make test": "this very run",
    "make lint": ".ci/run",
    "make setup": "make test needs it",
    "make controller": "a part of what make setup installs: test_ansible_roles.py",
    "helmet-agent health": "agent/tests/integration/test_run_command.py, beside a running agent",
}
QUICKER = {"bench": ("--pairs", "1", "--frames", "30")}
"""Added so that the test is quick; the commands are the same."""


@cache
def commands() -> tuple[tuple[str, str], ...]:
    found = []
    for page in PAGES:
        for block in re.findall(r"^```\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                command = line.split("  #")[0].strip()
                if re.match(r"(\S*helmet-(agent|cloud)|make|ansible-playbook) ", command):
                    found.append((page, command))
    return tuple(found)


def test_the_pages_show_commands() -> None:
    assert len(commands()) > 10
    assert {page for page, _ in commands()} == set(PAGES)


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {command.split()[1] for _, command in commands() if command.startswith("make ")}
    assert shown <= targets


def here() -> list[tuple[str, str]]:
    """What is run here; what lies below demo-output is checked by the suite `demo` against the command it ran."""
    return sorted(
        {
            (page, command)
            for page, command in commands()
            if command not in ELSEWHERE and not command.startswith("demo-output/")
        }
    )


def test_what_is_run_elsewhere_is_still_shown() -> None:
    assert set(ELSEWHERE) <= {command for _, command in commands()}


@pytest.mark.parametrize(("page", "command"), here())
def test_the_command_does_what_it_should(page: str, command: str) -> None:
    del page
    words = shlex.split(command)
    for name, extra in QUICKER.items():
        if name in words:
            words += extra
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
