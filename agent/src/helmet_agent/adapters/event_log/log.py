# SPDX-License-Identifier: Apache-2.0
"""Events as JSON lines in ``events.jsonl``, rotated by size under a total quota.

Violations are rare, so every line is fsynced: what was reported survives a power cut. A last line that a crash cut in
half is cut off when the log is opened. Rotated files are ``events-<number>.jsonl``, the highest number the youngest.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import TYPE_CHECKING

import structlog

from helmet_agent.adapters.event_log.snapshots import Snapshots
from helmet_agent.durable import FolderLock, append_durable, make_folder, remove_durable, reported
from helmet_agent.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.contract import ComplianceEvent

_log = structlog.get_logger(__name__)

_ROTATED = re.compile(r"events-([0-9]{8,})\.jsonl\Z")
_PIECES = 4
_LOOK_BACK_BYTES = 1 << 16
MIN_QUOTA_BYTES = 16 << 10


class EventLog:
    """The events folder: ``events.jsonl``, its rotated predecessors and ``snapshots/``. One thread uses it.

    Args:
        directory: created; one process at a time.
        quota_bytes: limit of all event lines on disk, at least ``MIN_QUOTA_BYTES``; the oldest rotated file goes
            first, and at least half of the quota is kept.
        snapshot_quota_bytes: limit of the pictures; the oldest go first.
        retention_days: pictures older than this are removed by ``sweep``; the lines stay. None keeps them.

    Raises:
        ValueError: the quota is too small.
        StorageError: the folder cannot be used, or another process uses it.
    """

    def __init__(
        self, directory: Path, quota_bytes: int, snapshot_quota_bytes: int, retention_days: float | None = None
    ) -> None:
        if quota_bytes < MIN_QUOTA_BYTES:
            raise ValueError(f"quota_bytes: expected at least {MIN_QUOTA_BYTES}, found {quota_bytes}")
        self._directory = directory
        self._path = directory / "events.jsonl"
        self._quota = quota_bytes
        self.rotated_away = 0
        self.snapshots_failed = 0
        make_folder(directory)
        self._owner = FolderLock(directory)
        try:
            self.snapshots = Snapshots(directory / "snapshots", snapshot_quota_bytes, retention_days)
            self._size = self._repair()
            if self._size > quota_bytes // _PIECES:
                self._rotate()
            self._keep_quota()
        except BaseException:
            self._owner.release()
            raise

    def append(self, event: ComplianceEvent, snapshot: bytes | None = None) -> ComplianceEvent:
        """Writes an event for good, its picture first.

        Args:
            event: what happened; its ``snapshot`` is replaced when a picture comes with it.
            snapshot: a JPEG. When the disk refuses it, the event is written without (``snapshots_failed``).

        Returns:
            The event as it was written.

        Raises:
            StorageError: the line is not on the disk.
        """
        if snapshot is not None:
            event = dataclasses.replace(event, snapshot=self._save(event, snapshot))
        line = json.dumps(event.to_json(), ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        if len(line) > self._quota // _PIECES:
            raise StorageError(f"an event of {len(line)} bytes does not fit into {self._path}; raise the events' quota")
        if self._size + len(line) > self._quota // _PIECES:
            self._rotate()
        append_durable(self._path, line)
        self._size += len(line)
        return event

    def sweep(self, now: float) -> int:
        """Removes pictures older than the retention period; returns how many. ``now`` is Unix time in seconds."""
        return self.snapshots.sweep(now)

    def close(self) -> None:
        """Lets go of the folder; idempotent."""
        self._owner.release()

    def _save(self, event: ComplianceEvent, snapshot: bytes) -> str | None:
        try:
            return self.snapshots.save(event.id, snapshot, event.time_seconds)
        except StorageError as error:
            self.snapshots_failed += 1
            _log.error("a snapshot could not be kept, its event is", id=event.id, reason=str(error))
            return None

    def _rotated(self) -> list[tuple[int, Path]]:
        with reported("read", self._directory):
            matches = ((_ROTATED.match(path.name), path) for path in self._directory.iterdir())
            return sorted((int(match[1]), path) for match, path in matches if match)

    def _rotate(self) -> None:
        rotated = self._rotated()
        number = rotated[-1][0] + 1 if rotated else 1
        with reported("rotate", self._path):
            self._path.rename(self._directory / f"events-{number:08d}.jsonl")
        self._size = 0
        self._keep_quota()

    def _keep_quota(self) -> None:
        """Leaves room for a full ``events.jsonl`` beside the rotated files."""
        rotated = self._rotated()
        with reported("read", self._directory):
            sizes = [path.stat().st_size for _, path in rotated]
        excess = sum(sizes) - (self._quota - self._quota // _PIECES)
        for (_, path), size in zip(rotated, sizes, strict=True):
            if excess <= 0:
                break
            remove_durable(path)
            self.rotated_away += 1
            excess -= size

    def _repair(self) -> int:
        """Cuts off a last line without its end; returns the file's size in bytes."""
        if not self._path.exists():
            return 0
        with reported("repair", self._path), self._path.open("r+b") as file:
            size = end = file.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - _LOOK_BACK_BYTES)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    end = start + newline + 1
                    break
                end = start
            if end < size:
                file.truncate(end)
                os.fsync(file.fileno())
                _log.warning("a half-written last event was cut off", path=str(self._path), bytes=size - end)
            return end
