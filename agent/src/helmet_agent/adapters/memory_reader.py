# SPDX-License-Identifier: Apache-2.0
"""How much memory the process takes, and what its control groups allow: cgroup v1 and v2.

What counts of a group is its working set, as Kubernetes counts it: usage without the page cache that the kernel would
give back first (``inactive_file``). Every parent's limit holds for its children too, so all levels are read up to the
mount's root. References: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the Linux kernel.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_LIMIT = 1 << 60
"""v1 says "no limit" with the largest multiple of a page in 63 bits; no machine has an exbibyte."""


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """One control group that the process is in, itself or through its parents.

    Attributes:
        path: its folder.
        used_bytes: its working set.
        limit_bytes: its own limit; None when it has none.
    """

    path: Path
    used_bytes: int
    limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """One look at memory.

    Attributes:
        rss_bytes: resident memory of the process.
        physical_bytes: memory of the machine.
        groups: the control groups, the process's own first; empty where none can be read.
    """

    rss_bytes: int
    physical_bytes: int
    groups: tuple[GroupMemory, ...]

    @property
    def group_limit_bytes(self) -> int | None:
        """The lowest limit of all groups; None when none has one."""
        return min((group.limit_bytes for group in self.groups if group.limit_bytes is not None), default=None)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The names of one cgroup version's files."""

    usage: str
    limits: tuple[str, ...]
    cache: str


# memory.high counts as a limit: above it the kernel slows the process down until it is of no use.
_V2 = _Layout("memory.current", ("memory.max", "memory.high"), "inactive_file")
_V1 = _Layout("memory.usage_in_bytes", ("memory.limit_in_bytes",), "total_inactive_file")


class MemoryReader:
    """Reads a process's memory and its groups; what cannot be read is left out, since a reading must never fail.

    Args:
        pid: the process; None: this one.
        proc_root, cgroup_root: where procfs and the control groups are mounted.
    """

    def __init__(
        self, pid: int | None = None, *, proc_root: Path = Path("/proc"), cgroup_root: Path = Path("/sys/fs/cgroup")
    ) -> None:
        self._process = psutil.Process(pid)
        self._membership = proc_root / (str(pid) if pid is not None else "self") / "cgroup"
        self._root = cgroup_root
        self._physical = int(psutil.virtual_memory().total)

    def read(self) -> MemoryReading:
        """The state of this moment.

        Raises:
            psutil.NoSuchProcess: it was told to watch another process, and that has ended.
        """
        return MemoryReading(int(self._process.memory_info().rss), self._physical, tuple(self._groups()))

    def _groups(self) -> Iterator[GroupMemory]:
        with contextlib.suppress(OSError, ValueError):
            mount, path, layout = self._membership_of_memory()
            folder = mount / path.relative_to("/")
            if not folder.is_dir():
                # In a container without a cgroup namespace the path is the host's, and the mount shows its end only.
                folder = mount
            while True:
                if (group := _read_group(folder, layout)) is not None:
                    yield group
                if folder == mount:
                    return
                folder = folder.parent

    def _membership_of_memory(self) -> tuple[Path, PurePosixPath, _Layout]:
        """(mount, path below it, file names) of the hierarchy that controls memory."""
        unified = PurePosixPath("/")
        for line in self._membership.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                return self._root / "memory", PurePosixPath(path), _V1
            if number == "0":
                unified = PurePosixPath(path)
        return self._root, unified, _V2


def _read_group(folder: Path, layout: _Layout) -> GroupMemory | None:
    usage = _number(folder / layout.usage)
    limits = [limit for name in layout.limits if (limit := _number(folder / name)) is not None and limit < _NO_LIMIT]
    if usage is None:  # the root of v2 has neither usage nor limit
        return None
    return GroupMemory(
        folder, max(0, usage - _statistic(folder / "memory.stat", layout.cache)), min(limits, default=None)
    )


def _number(path: Path) -> int | None:
    """The number in a file; None for ``max`` and for what cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _statistic(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
