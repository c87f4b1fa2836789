# SPDX-License-Identifier: Apache-2.0
"""The signing keys of the channel: Ed25519, PKCS #8 files that only the hub's user can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
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
            found = read_signer(self.path(role, coming=coming))
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
        found = read_signer(path)
        if found is None:
            make_folder(path.parent, mode=0o700)
            found = CryptoSigner.generate_ed25519()
            write_atomic(path, found.private_bytes, mode=0o600)
        return found

    def root_signers(self, key_ids: Collection[str]) -> list[CryptoSigner]:
        """Every key of those that lies in the offline folder; mostly none.

        Raises:
            HubError: one cannot be read.
        """
        paths = sorted(self._offline.glob("*.pem")) if self._offline.is_dir() else []
        found = [signer for path in paths if (signer := read_signer(path)) is not None]
        return list({one.public_key.keyid: one for one in found if one.public_key.keyid in key_ids}.values())

    def adopt(self, role: str, key_ids: Collection[str]) -> None:
        """The coming key, where it is one of these, becomes the key; the old one is gone for good.

        Raises:
            StorageError: it cannot be written.
        """
        coming = self.path(role, coming=True)
        found = read_signer(coming)
        if found is not None and found.public_key.keyid in key_ids:
            write_atomic(self.path(role), found.private_bytes, mode=0o600)
            remove_durable(coming)


def make_root_key(path: Path) -> CryptoSigner:
    """One holder's root key in a file, its public half beside it as ``.pub``; makes what is missing of both.

    Raises:
        HubError: the file holds something else.
        StorageError: it cannot be written.
    """
    found = read_signer(path)
    if found is None:
        found = CryptoSigner.generate_ed25519()
        write_atomic(path, found.private_bytes, mode=0o600)
    private = load_pem_private_key(found.private_bytes, None)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_atomic(path.with_suffix(".pub"), public, mode=0o644)
    return found


def read_signer(path: Path) -> CryptoSigner | None:
    """A private key; None when there is no such file.

    Raises:
        HubError: it holds something else. StorageError: it cannot be read.
    """
    try:
        with reported("read", path):
            content = path.read_bytes() if path.exists() else None
        return None if content is None else CryptoSigner(load_pem_private_key(content, None))
    except (ValueError, TypeError) as error:
        raise HubError(f"{path} is no private key: {error}") from error
