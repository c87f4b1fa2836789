# SPDX-License-Identifier: Apache-2.0
"""The signing keys of the channel: Ed25519, PKCS #8 files that only the hub's user can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from helmet_agent.durable import make_folder, remove_durable, reported, write_atomic
from helmet_cloud.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

ONLINE_ROLES = (Targets.type, Snapshot.type, Timestamp.type)
ROLES = (Root.type, *ONLINE_ROLES)


class KeyStore:
    """One key a role; during a rotation also the coming one, ``<role>.next.pem``.

    Args:
        online: folder of the targets, snapshot and timestamp keys, which the serving hub needs.
        offline: folder of the root key, which only rotations need; to be kept elsewhere.
    """

    def __init__(self, online: Path, offline: Path) -> None:
        self._online = online
        self._offline = offline

    def path(self, role: str, *, coming: bool = False) -> Path:
        """Where a role's key lies."""
        folder = self._offline if role == Root.type else self._online
        return folder / f"{role}{'.next' if coming else ''}.pem"

    def signer(self, role: str, key_ids: Collection[str]) -> CryptoSigner:
        """The key of a role that the root names; a rotation that was interrupted at its end counts as done.

        Raises:
            HubError: it is not there, cannot be read, or is not the one that the root names.
        """
        tried = self.path(role)
        for coming in (False, True):
            found = self._read(self.path(role, coming=coming))
            if found is not None and found.public_key.keyid in key_ids:
                return found
        if not tried.exists():
            advice = "bring it back for this command" if role == Root.type else "restore it from a backup"
            raise HubError(f"the {role} key is missing: {tried}; {advice}")
        raise HubError(f"{tried} is not the {role} key that the channel's root names; restore the right one")

    def ensure(self, role: str, *, coming: bool = False) -> CryptoSigner:
        """The key in that file; made when there is none.

        Raises:
            StorageError: it cannot be written.
        """
        path = self.path(role, coming=coming)
        found = self._read(path)
        if found is None:
            make_folder(path.parent, mode=0o700)
            found = CryptoSigner.generate_ed25519()
            write_atomic(path, found.private_bytes, mode=0o600)
        return found

    def adopt(self, role: str) -> None:
        """The coming key becomes the key; the old one is gone for good.

        Raises:
            StorageError: it cannot be written.
        """
        coming = self.path(role, coming=True)
        if coming.exists():
            with reported("read", coming):
                content = coming.read_bytes()
            write_atomic(self.path(role), content, mode=0o600)
            remove_durable(coming)

    def _read(self, path: Path) -> CryptoSigner | None:
        try:
            with reported("read", path):
                content = path.read_bytes() if path.exists() else None
            return None if content is None else CryptoSigner(load_pem_private_key(content, None))
        except (ValueError, TypeError) as error:
            raise HubError(f"{path} is no private key: {error}") from error
