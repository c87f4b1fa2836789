# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel can limit memory by cgroup, and how a Raspberry Pi is told to.

Raspberry Pi's firmware starts Linux with the memory controller off; ``cmdline.txt``, one line, switches it on. What
counts is the effect: firmware may add ``cgroup_disable=memory`` after it.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

WORDS = ("cgroup_enable=memory", "cgroup_memory=1")
_CMDLINES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")


@dataclass(frozen=True)
class MemoryCgroup:
    """What a machine says of itself.

    Attributes:
        available: the running kernel can limit memory.
        raspberry_pi: its firmware reads ``cmdline.txt``.
        cmdline: that file; None where there is none.
        pending: the file asks for it already, so that only the reboot is missing.
    """

    available: bool
    raspberry_pi: bool
    cmdline: Path | None
    pending: bool


def look(root: Path) -> MemoryCgroup:
    """Reads the tree of a machine, ``/`` for this one."""
    model = _text(root / "proc/device-tree/model")
    cmdline = next((root / name for name in _CMDLINES if (root / name).is_file()), None)
    words = _text(cmdline).split() if cmdline else []
    return MemoryCgroup(_available(root), "Raspberry Pi" in model, cmdline, all(word in words for word in WORDS))


def switched_on(line: str) -> str:
    """The content of ``cmdline.txt`` with the words that are missing at the end of its one line."""
    words = line.split()
    return " ".join([*words, *(word for word in WORDS if word not in words)]) + "\n"


def write(cmdline: Path, content: str) -> None:
    """Replaces the file: a half-written one would not boot."""
    descriptor, beside = tempfile.mkstemp(dir=cmdline.parent, prefix="cmdline-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(cmdline.stat().st_mode & 0o777)
        Path(beside).replace(cmdline)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise


def _available(root: Path) -> bool:
    unified = root / "sys/fs/cgroup/cgroup.controllers"
    if unified.is_file():
        return "memory" in _text(unified).split()
    rows = [line.split() for line in _text(root / "proc/cgroups").splitlines()]
    # name, hierarchy, number of cgroups, enabled
    return any(row[0] == "memory" and row[-1] == "1" for row in rows if row)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
