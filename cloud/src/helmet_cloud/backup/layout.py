# SPDX-License-Identifier: Apache-2.0
"""What a backup holds: a tar archive whose last member sums it up.

Members are plain files, named relative to the hub's folder, each with its sha256 in a PAX header. The last one,
``BACKUP.json``, says how many there are and carries a digest over all names and digests in their order: an archive that
was cut off or changed anywhere is found out.
"""

from __future__ import annotations

import hashlib

from helmet_agent.errors import AgentError

SCHEMA = 1
SUMMARY = "BACKUP.json"
DIGEST_HEADER = "HELMET.sha256"
DATABASE = "hub.sqlite"

LEFT_OUT = frozenset({"work", "offline-keys", "address"})
"""Not in a backup: scratch of running workers; the root key, which belongs elsewhere; the address of this moment."""

PICTURES = "pictures"


class BackupDamaged(AgentError):  # noqa: N818 - the state that ends a restore
    """The archive is no backup, or was cut off or changed; nothing was restored."""


class Chain:
    """The digest over all members so far."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, name: str, sha256: str) -> None:
        """Takes the next member into account."""
        self.count += 1
        self._hash.update(f"{len(name)} {name} {sha256}\n".encode())

    def hexdigest(self) -> str:
        """Of all members that were added."""
        return self._hash.hexdigest()
