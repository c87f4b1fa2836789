# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel can limit memory, and what a Raspberry Pi's cmdline.txt is made to say."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))
cgroup: Any = importlib.import_module("ansible_collections.helmet.edge.plugins.module_utils.memory_cgroup")

LINE = "console=serial0,115200 root=PARTUUID=1-02 rootwait"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def pi(root: Path, line: str = LINE + "\n", **more: str) -> Path:
    files = {"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0", "boot/firmware/cmdline.txt": line}
    return machine(root, {**files, "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n", **more})


def run(root: Path, *, check: bool = False) -> dict[str, Any]:
    """The module as a node's Python runs it."""
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"root": str(root), "_ansible_check_mode": check}})
    name = "ansible_collections.helmet.edge.plugins.modules.memory_cgroup"
    done = subprocess.run(
        [sys.executable, "-m", name],
        input=arguments,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "collections",
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({"sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n"}, True),
        ({"sys/fs/cgroup/cgroup.controllers": "cpu pids\n"}, False),
        ({"proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\nmemory\t4\t9\t1\n"}, True),
        ({"proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\n"}, False),
        ({}, False),
    ],
)
def test_both_kinds_of_cgroups_are_understood(tmp_path: Path, files: dict[str, str], available: bool) -> None:
    assert cgroup.look(machine(tmp_path, files)).available is available


def test_this_machine_can_be_looked_at() -> None:
    assert cgroup.look(Path("/")).available in {True, False}


def test_a_raspberry_pi_is_edited_once_and_asked_to_reboot(tmp_path: Path) -> None:
    root = pi(tmp_path)
    promised = run(root, check=True)
    assert promised["changed"]
    assert (root / "boot/firmware/cmdline.txt").read_text() == LINE + "\n"
    first = run(root)
    assert first["changed"]
    assert "reboot this machine" in first["advice"]
    assert (root / "boot/firmware/cmdline.txt").read_text() == f"{LINE} cgroup_enable=memory cgroup_memory=1\n"
    second = run(root)
    assert not second["changed"]
    assert "firmware switches it off again" in second["advice"]


def test_another_machine_gets_advice_and_is_not_edited(tmp_path: Path) -> None:
    root = machine(tmp_path, {"boot/cmdline.txt": LINE, "proc/device-tree/model": "Some Board\0"})
    found = run(root)
    assert not found["changed"]
    assert not found["available"]
    assert "kernel's command line" in found["advice"]
    assert (root / "boot/cmdline.txt").read_text() == LINE


@given(st.lists(st.sampled_from([*cgroup.WORDS, "rootwait", "quiet", "cgroup_disable=memory"]), max_size=6))
def test_the_line_keeps_its_words_stays_one_line_and_settles(words: list[str]) -> None:
    line = cgroup.switched_on(" ".join(words) + "\n")
    assert line.split()[: len(words)] == words
    assert line.count("\n") == 1
    assert set(cgroup.WORDS) <= set(line.split())
    assert cgroup.switched_on(line) == line
