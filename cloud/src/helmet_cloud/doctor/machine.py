# SPDX-License-Identifier: Apache-2.0
"""What the hub's doctor looks at on the machine: clock, disk, permissions, memory, database."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import sqlite3
import stat
import time
from typing import TYPE_CHECKING

from helmet_agent.adapters.memory_reader import MemoryReader
from helmet_agent.diagnosis import FAILED, OK, WARNING, Finding
from helmet_cloud.store.migrations import HEAD, versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helmet_cloud.settings import HubHome

BUILT_SECONDS = 1_767_225_600.0
"""The first moment of 2026: a clock before it was never set."""

MOST_AHEAD_SECONDS = 20 * 365.25 * 86400.0
LEAST_FREE_BYTES, LITTLE_FREE_BYTES = 64 << 20, 1 << 30
LEAST_FREE_FILES = 1000
LEAST_MEMORY_BYTES = 256 << 20
"""The hub alone takes about 160 MiB."""

_MIB = 1 << 20
_OTHERS = 0o077


def clock(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether the time can be right: signatures and certificates are made by it."""
    del home
    if BUILT_SECONDS <= now < BUILT_SECONDS + MOST_AHEAD_SECONDS:
        yield Finding("clock", OK, "plausible")
        return
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    yield Finding("clock", FAILED, f"it says {day}; set it: `timedatectl set-ntp true`, or chrony, then start the hub")


def disk(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether there is room to write."""
    del now
    facts = os.statvfs(home.folder)
    free = facts.f_bavail * facts.f_frsize
    found = f"{home.folder}: {free // _MIB} MiB free"
    if facts.f_flag & os.ST_RDONLY:
        mend = "`dmesg` says why; after a check of the disk: `mount -o remount,rw`"
        yield Finding("disk", FAILED, f"{home.folder}: is mounted read-only; {mend}")
    elif facts.f_files and facts.f_favail < LEAST_FREE_FILES:
        yield Finding(
            "disk", FAILED, f"{home.folder}: room for {facts.f_favail} more files (inodes); remove small ones"
        )
    elif free < LEAST_FREE_BYTES:
        yield Finding(
            "disk", FAILED, f"{found}; free some space, lower max_examples_bytes or retention_days in hub.toml"
        )
    elif free < LITTLE_FREE_BYTES:
        yield Finding("disk", WARNING, f"{found}; free some space before nodes are refused")
    else:
        yield Finding("disk", OK, found)


def permissions(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether this user may write, and nobody else may read what is secret."""
    del now
    if not os.access(home.folder, os.W_OK | os.X_OK):
        yield Finding(
            "permissions", FAILED, f"{home.folder}: may not be written; run the doctor as the hub's user, or chown"
        )
        return
    shown = [path for path in _secret(home) if path.exists() and stat.S_IMODE(path.stat().st_mode) & _OTHERS]
    for path in shown:
        mode = 700 if path.is_dir() else 600
        yield Finding(
            "permissions", FAILED, f"{path}: others may read it; run `chmod {mode} {path}`, then make a new one"
        )
    if not shown:
        yield Finding("permissions", OK, f"{home.folder}: may be written, its secrets are its user's only")


def memory(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether the hub has room, and the workers that it starts."""
    del now
    reading = MemoryReader().read()
    for group in reading.groups:
        if group.limit_bytes is not None and group.limit_bytes < LEAST_MEMORY_BYTES:
            found = f"the control group {group.path} allows {group.limit_bytes // _MIB} MiB"
            yield Finding(
                "cgroup", FAILED, f"{found}; raise the unit's MemoryMax= to {LEAST_MEMORY_BYTES // _MIB} or more"
            )
    wanted = home.settings.worker_memory_bytes
    there = min(reading.physical_bytes, reading.group_limit_bytes or reading.physical_bytes)
    found = f"workers may take {wanted // _MIB} MiB, there are {there // _MIB}"
    if wanted > there:
        yield Finding("memory", OK, f"{found}: the kernel ends a worker that takes all; see worker_memory_bytes")
    else:
        yield Finding("memory", OK, found)


def database(home: HubHome, now: float) -> Iterator[Finding]:
    """Whether the database is whole and this release's."""
    del now
    mend = "stop the hub and `helmet-cloud restore` a backup"
    if not home.database.exists():
        yield Finding(
            "database", FAILED, f"{home.database}: is not there; {mend}, or `helmet-cloud init` for an empty one"
        )
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{home.database}?mode=ro", uri=True)) as connection:
            said = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        yield Finding("database", FAILED, f"{home.database}: {error}; {mend}")
        return
    known = {name.partition("_")[0] for _, name, _ in pkgutil.iter_modules(versions.__path__)}
    if said != ["ok"]:
        yield Finding("database", FAILED, f"{home.database}: damaged: {said[0]}; {mend}")
    elif revision is not None and revision[0] not in known:
        newer = f"{home.database}: of revision {revision[0]}, made by a newer release; this one knows up to {HEAD}"
        yield Finding("database", FAILED, f"{newer}; install that release, or restore a backup of before")
    else:
        yield Finding("database", OK, f"{home.database}: whole, revision {revision[0] if revision else 'none'}")


def _secret(home: HubHome) -> Iterator[Path]:
    yield from (home.keys, home.offline_keys, home.tls, home.kubeconfig, home.folder / "hub.toml")
    for folder in (home.keys, home.offline_keys, home.folder / "tokens"):
        yield from sorted(folder.glob("*"))
    yield from sorted(home.tls.glob("*.key"))
