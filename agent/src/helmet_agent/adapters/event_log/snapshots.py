# SPDX-License-Identifier: Apache-2.0
"""Pictures of violations: one JPEG an event, under a byte quota, removed after the retention period."""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from helmet_agent.durable import make_folder, remove_durable, reported, sweep_temporaries, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]|^\.")
_LONGEST_NAME = 120
_SECONDS_PER_DAY = 86400.0


class _Picture(NamedTuple):
    taken_seconds: float
    name: str
    size: int


def safe_name(event_id: str) -> str:
    """A file name without its ending for any event id: unchanged when it is safe, else cleaned and marked by a digest.

    Two different ids never get the same name.
    """
    cleaned = _UNSAFE.sub("_", event_id)[:_LONGEST_NAME]
    if cleaned == event_id and cleaned:
        return cleaned
    return f"{cleaned}-{hashlib.sha256(event_id.encode(errors='surrogatepass')).hexdigest()[:16]}"


class Snapshots:
    """The folder of snapshots. The file's modification time is when the picture was taken. Not thread-safe.

    Args:
        directory: created.
        quota_bytes: beyond it the oldest pictures go.
        retention_days: ``sweep`` removes older ones; None keeps them.

    Raises:
        StorageError: from every method, when the disk refuses.
    """

    def __init__(self, directory: Path, quota_bytes: int, retention_days: float | None) -> None:
        self._directory = directory
        self._quota = quota_bytes
        self._retention_days = retention_days
        self.quota_refused = 0
        self.evicted = 0
        self.expired = 0
        make_folder(directory)
        sweep_temporaries(directory)
        with reported("read", directory):
            found = [
                _Picture(path.stat().st_mtime, path.name, path.stat().st_size)
                for path in directory.iterdir()
                if path.suffix == ".jpg"
            ]
        self._pictures = deque(sorted(found))
        self._used = sum(picture.size for picture in found)
        self._make_room(0)

    @property
    def used_bytes(self) -> int:
        """Bytes of all pictures."""
        return self._used

    def save(self, event_id: str, jpeg: bytes, taken_seconds: float) -> str | None:
        """Writes a picture for an event; a second one of the same event gets ``-2`` and so on.

        Returns:
            Its file name, or None when it alone is larger than the quota (``quota_refused``).
        """
        if len(jpeg) > self._quota:
            self.quota_refused += 1
            return None
        self._make_room(len(jpeg))
        stem = safe_name(event_id)
        name, count = f"{stem}.jpg", 1
        while (self._directory / name).exists():
            count += 1
            name = f"{stem}-{count}.jpg"
        path = self._directory / name
        write_atomic(path, jpeg)
        with reported("write", path):
            os.utime(path, (taken_seconds, taken_seconds))
        self._pictures.append(_Picture(taken_seconds, name, len(jpeg)))
        self._used += len(jpeg)
        return name

    def sweep(self, now: float) -> int:
        """Removes pictures taken more than the retention period before ``now`` (Unix seconds); returns how many."""
        if self._retention_days is None:
            return 0
        oldest = now - self._retention_days * _SECONDS_PER_DAY
        old = [picture for picture in self._pictures if picture.taken_seconds < oldest]
        for picture in old:
            self._remove(picture)
            self.expired += 1
        return len(old)

    def _make_room(self, size: int) -> None:
        while self._pictures and self._used + size > self._quota:
            self._remove(self._pictures[0])
            self.evicted += 1

    def _remove(self, picture: _Picture) -> None:
        remove_durable(self._directory / picture.name)
        self._pictures.remove(picture)
        self._used -= picture.size
