# SPDX-License-Identifier: Apache-2.0
"""The folder of pictures, ``ab/<sha256>.jpg``: a name can never come to mean another content."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from typing import TYPE_CHECKING

from helmet_agent.durable import TEMPORARY_PREFIX, make_folder, remove_durable, sweep_temporaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_SHARD = re.compile(r"[0-9a-f]{2}\Z")
_NAME = re.compile(r"([0-9a-f]{64})\.jpg\Z")
_MODE = 0o640


class PictureFolder:
    """Stages pictures one by one and publishes many at once, so that a burst costs few waits for the disk.

    Args:
        root: the folder; made when the first picture comes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Where the picture lies."""
        return self.root / sha256[:2] / f"{sha256}.jpg"

    def free_bytes(self) -> int:
        """What the disk has left for us."""
        make_folder(self.root)
        return shutil.disk_usage(self.root).free

    def stage(self, sha256: str, content: memoryview) -> Path:
        """Writes a picture under a temporary name; when this returns its content is on the disk.

        Raises:
            OSError: it is not; nothing is left of it.
        """
        folder = self.path(sha256).parent
        make_folder(folder)
        temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            try:
                os.fchmod(descriptor, _MODE)
                rest = content
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            self.discard(temporary)
            raise
        return temporary

    def discard(self, temporary: Path) -> None:
        """Removes what was staged; ``sweep`` finds what even this cannot remove."""
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)

    def publish(self, staged: Mapping[str, Path]) -> None:
        """Gives staged pictures their names; when this returns the names survive a power cut.

        Raises:
            OSError: one of them has no name yet; others may have theirs.
        """
        for sha256, temporary in staged.items():
            temporary.rename(self.path(sha256))
        for folder in {self.path(sha256).parent for sha256 in staged}:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, digests: Iterable[str]) -> int:
        """Removes pictures for good, as far as they are there; returns how many were.

        Raises:
            StorageError: one is still there.
        """
        shards: dict[str, list[Path]] = {}
        for sha256 in digests:
            shards.setdefault(sha256[:2], []).append(self.path(sha256))
        return sum(remove_durable(*paths) for paths in shards.values())

    def shards(self) -> Iterator[Path]:
        """The folders that hold pictures."""
        if self.root.is_dir():
            for path in sorted(self.root.iterdir()):
                if _SHARD.match(path.name) and path.is_dir():
                    yield path

    def scan(self, shard: Path, before: float) -> list[str]:
        """Digests of a shard's pictures that were written before a moment (Unix time)."""
        with os.scandir(shard) as entries:
            names = [(match, entry) for entry in entries if (match := _NAME.match(entry.name))]
            return [match[1] for match, entry in names if entry.stat(follow_symlinks=False).st_mtime < before]

    def sweep(self, shard: Path, older_than_seconds: float) -> int:
        """Removes temporary files that a crash left in a shard; returns how many."""
        return sweep_temporaries(shard, older_than_seconds=older_than_seconds)
