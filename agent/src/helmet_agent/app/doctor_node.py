# SPDX-License-Identifier: Apache-2.0
"""What the doctor looks at on the machine itself: permissions, disk, memory, model, cameras."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import time
from typing import TYPE_CHECKING

from helmet_agent.adapters.memory_reader import MemoryReader
from helmet_agent.app.doctor import FAILED, OK, SKIPPED, WARNING, Finding
from helmet_agent.app.models import load_detector
from helmet_agent.app.sources import configured_sources
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.credentials import exposed
from helmet_agent.errors import AgentError
from helmet_agent.quantities import format_bytes
from helmet_agent.services.governor_loop import tightest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from helmet_agent.config import AgentConfig
    from helmet_agent.ports import FrameSource

LEAST_FREE_BYTES = 64 << 20
LEAST_FREE_FILES = 1000
LEAST_MEMORY_BYTES = 192 << 20
"""The agent with one camera of 720 lines takes about 150 MiB."""


def permissions(config: AgentConfig) -> Iterator[Finding]:
    """Whether this user may write the agent's folders and read its secrets, and whether others may not."""
    wanted = (config.sink.directory, config.results.directory, config.results.detections)
    folders = [config.node.data_dir, *(folder for folder in wanted if folder is not None)]
    for folder in folders:
        yield _writable(folder)
    for source in config.sources:
        path = source.credentials_file
        if path is None:
            continue
        if not os.access(path, os.R_OK):
            yield Finding("permissions", FAILED, f"{path}: cannot be read by {_me()}; correct path, owner or mode")
        elif exposed(path):
            yield Finding(
                "permissions", FAILED, f"{path}: every user of this machine may read it; run `chmod 640 {path}`"
            )
        else:
            yield Finding("permissions", OK, f"{path}: readable by {_me()}, not by others")


def disk(config: AgentConfig) -> Iterator[Finding]:
    """Whether the disk has room for what the quotas promise."""
    folder = _nearest(config.node.data_dir)
    facts = os.statvfs(folder)
    if facts.f_flag & os.ST_RDONLY:
        mend = "the kernel's log says why (`dmesg`); after a check of the disk: `mount -o remount,rw`"
        yield Finding("disk", FAILED, f"{folder}: is mounted read-only; {mend}")
        return
    if facts.f_files and facts.f_favail < LEAST_FREE_FILES:
        found = f"{folder}: room for {facts.f_favail} more files, of {facts.f_files} (inodes)"
        yield Finding("disk", FAILED, f"{found}; remove small files, or make the file system anew with more inodes")
        return
    free = shutil.disk_usage(folder).free
    promised = config.spool.quota + config.events.quota + config.events.snapshot_quota
    left = max(0, promised - _used(config.node.data_dir))
    found = f"{folder}: {format_bytes(free)} free, the quotas may take {format_bytes(left)} more"
    if free < LEAST_FREE_BYTES:
        yield Finding("disk", FAILED, f"{found}; free some space")
    elif free < left:
        yield Finding("disk", WARNING, f"{found}; free some space or lower spool.quota and events.snapshot_quota")
    else:
        yield Finding("disk", OK, found)


def memory(config: AgentConfig) -> Iterator[Finding]:
    """Whether the lowest memory limit leaves room to work."""
    reading = MemoryReader().read()
    need = int(LEAST_MEMORY_BYTES / config.memory.soft_fraction)
    for group in reading.groups:
        if group.limit_bytes is not None and group.limit_bytes < need:
            found = f"the control group {group.path} allows {format_bytes(group.limit_bytes)}"
            mend = f"raise the unit's MemoryMax= or the container's limit to {format_bytes(need)} or more"
            yield Finding("cgroup", FAILED, f"{found}; {mend}")
    limits = [limit for limit in (config.memory.limit, reading.group_limit_bytes) if limit is not None]
    limit = min([reading.physical_bytes, *limits])
    found = f"the lowest limit is {format_bytes(limit)}"
    if min(config.memory.limit or need, reading.physical_bytes) < need:
        where = "memory.limit in the configuration" if reading.physical_bytes >= need else "the machine's memory"
        yield Finding("memory", FAILED, f"{found}; raise {where} to {format_bytes(need)} or more")
    elif (pressure := tightest(reading, config.memory.limit)).share >= config.memory.soft_fraction:
        yield Finding("memory", WARNING, f"{found} and {pressure.share:.0%} of it is used; the agent will shed work")
    else:
        yield Finding("memory", OK, found)


def model(config: AgentConfig) -> Iterator[Finding]:
    """Whether the configured model loads and finds what is on its golden frames."""
    started = time.monotonic()
    try:
        manifest = load_detector(config).manifest
    except AgentError as error:
        yield Finding("model", FAILED, f"{error}; run `helmet-agent self-test`, install another model")
        return
    seconds = time.monotonic() - started
    digest = manifest.model.sha256[:12]
    yield Finding("model", OK, f"{manifest.name} release {manifest.release} ({digest}) is good, {seconds:.1f} s")


def sources(config: AgentConfig) -> Iterator[Finding]:
    """Whether each source delivers a picture."""
    if not config.sources:
        yield Finding("sources", FAILED, "none; give at least one [[sources]] table with name and url")
    for source, settings in configured_sources(config, SystemClock()):
        yield _looked_at(source, f"source {settings.display_name}")


def _looked_at(source: FrameSource, part: str) -> Finding:
    started = time.monotonic()
    try:
        source.open()
        frame = source.read()
    except AgentError as error:
        return Finding(part, FAILED, f"{error}; check address, credentials and that the camera is on")
    finally:
        with contextlib.suppress(AgentError):
            source.close()
    if frame is None:
        return Finding(part, WARNING, "opened, and there is no picture in it")
    height, width = frame.image.shape[:2]
    return Finding(part, OK, f"a picture of {width} x {height} after {time.monotonic() - started:.1f} s")


def _writable(folder: Path) -> Finding:
    # The agent makes what is missing, so its nearest parent counts.
    nearest = _nearest(folder)
    if not nearest.is_dir():
        return Finding("permissions", FAILED, f"{nearest}: is no folder; correct the path in the configuration")
    if os.statvfs(nearest).f_flag & os.ST_RDONLY:
        return Finding("permissions", SKIPPED, f"{nearest}: on a read-only file system, see disk")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding(
            "permissions",
            FAILED,
            f"{nearest}: {_me()} may not write there; run the doctor as the agent's user, or chown",
        )
    if os.geteuid() == 0 and nearest.stat().st_uid != 0:
        owner = _name(nearest.stat().st_uid)
        return Finding(
            "permissions", SKIPPED, f"{folder}: root may write everywhere; ask as {owner}: `sudo -u {owner} ...`"
        )
    return Finding("permissions", OK, f"{folder}: {_me()} may write there")


def _nearest(path: Path) -> Path:
    while not path.exists() and path.parent != path:
        path = path.parent
    return path


def _used(folder: Path) -> int:
    total = 0
    for directory, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118 - os.walk gives texts
    return total


def _me() -> str:
    return _name(os.geteuid())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
