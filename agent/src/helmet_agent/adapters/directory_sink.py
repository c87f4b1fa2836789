# SPDX-License-Identifier: Apache-2.0
"""Hard examples into a folder that people and other programs read: Sedna's ``HE_SAVED_URL``.

Each example is ``<sha256>.json`` and then ``<sha256>.jpeg``: whoever sees the picture finds its record. The names come
from the content, so a restart or a second agent on the same share never reuses one for something else.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from helmet_agent.durable import make_folder, reported, sweep_temporaries, write_atomic_group
from helmet_agent.errors import ConfigError

if TYPE_CHECKING:
    from helmet_agent.contract import HardExample

_OURS = re.compile(r"[0-9a-f]{64}\.(?:jpeg|json)\Z")
_ABANDONED_AFTER_SECONDS = 3600.0


def directory_of(address: str) -> Path:
    """The folder that an ``HE_SAVED_URL`` names: a plain path or a ``file://`` URL of this machine.

    Raises:
        ConfigError: it is empty, relative, or some other kind of URL.
    """
    parts = urlsplit(address)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise ConfigError(
                f"HE_SAVED_URL: {address!r} names the host {parts.netloc!r}; write file:///folder for this machine"
            )
        path = Path(unquote(parts.path))
    elif "://" in address:
        raise ConfigError(
            f"HE_SAVED_URL: {parts.scheme}:// cannot be written to, only a folder can; "
            "name one as a path or file:///folder and let the hub fetch examples by the uplink"
        )
    else:
        path = Path(address)
    if not path.is_absolute():
        raise ConfigError(f"HE_SAVED_URL: expected an absolute folder, found {address!r}; write it from / on")
    return path


class DirectorySink:
    """An example sink that only ever adds to a folder; what is in there belongs to whoever reads it. Thread-safe.

    Args:
        directory: the folder; created.
        quota_bytes: examples are refused (``quota_refused``) when the sink's own kind of files would take more; what
            others remove meanwhile counts as room after a restart. None: no limit but the disk's.

    Raises:
        StorageError: the folder cannot be made or read.
    """

    def __init__(self, directory: Path, quota_bytes: int | None = None) -> None:
        self._directory = directory
        self._quota = quota_bytes
        self._guard = threading.Lock()
        self.saved = 0
        self.duplicates = 0
        self.quota_refused = 0
        make_folder(directory)
        # Another agent may be writing to a shared folder just now: only old temporaries are a crash's.
        sweep_temporaries(directory, older_than_seconds=_ABANDONED_AFTER_SECONDS)
        self._used = self._measure()

    def put(self, example: HardExample) -> bool:
        """Writes an example; when this returns True it survives a power cut.

        Returns:
            False when it was there already or the quota has no room for it (``quota_refused``).

        Raises:
            StorageError: it could not be written.
        """
        name = example.record.sha256
        record = example.record.to_bytes()
        size = len(example.jpeg) + len(record)
        with self._guard:
            if self._is_there(name):
                self.duplicates += 1
                return False
            if self._quota is not None and self._used + size > self._quota:
                self.quota_refused += 1
                return False
            write_atomic_group(self._directory, {f"{name}.json": record, f"{name}.jpeg": example.jpeg})
            self._used += size
            self.saved += 1
            return True

    def _is_there(self, name: str) -> bool:
        with reported("read", self._directory):
            return all((self._directory / f"{name}.{kind}").exists() for kind in ("jpeg", "json"))

    def _measure(self) -> int:
        with reported("read", self._directory):
            return sum(path.stat().st_size for path in self._directory.iterdir() if _OURS.match(path.name))
