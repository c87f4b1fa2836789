# SPDX-License-Identifier: Apache-2.0
"""New keys, and new signatures under the old ones, without a moment at which a reader finds nothing it can trust.

An online role's metadata is first signed with the old and the new key; then a new root takes the new key in and the old
one out. Readers with the old root and readers with the new one both accept the metadata. A new root key signs the root
together with the old one (TUF specification, 6.1), so nodes that were given any older root follow the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuf.api.metadata import Metadata, Root, Targets

from helmet_cloud.channel.keys import ROLES
from helmet_cloud.channel.next_root import adopt, leave, missing, refuse_second, take
from helmet_cloud.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Signer

    from helmet_cloud.channel.lock import ChannelLock
    from helmet_cloud.channel.repository import Repository


def rotate(repository: Repository, lock: ChannelLock, role: str) -> str:
    """Gives a role a new key; an interrupted rotation is finished instead. Returns the new key's id.

    Where the root asks for more signatures than there are keys in ``DIR/offline-keys``, the next root is left for its
    holders to sign (``next_root``), and the old key counts until it is published.

    Raises:
        BadRequest: there is no such role, or the root has several keys.
        Conflict: another next root waits for signatures.
        HubError: the root key, or the role's, is missing.
        StorageError: the disk.
    """
    if role not in ROLES:
        raise BadRequest(f"no such role: {role!r}; expected {', '.join(ROLES)}")
    keys = repository.keys
    with lock.held():
        repository.heal()
        refuse_second(repository)
        root = repository.root().signed
        if role == Root.type and len(root.roles[role].keyids) > 1:
            raise BadRequest("the root has several keys: name those that it shall have with `channel new-root`")
        signers = root_signers(repository, root)
        old = keys.signer(role, root.roles[role].keyids)
        new = keys.ensure(role, coming=True)
        if old.public_key.keyid != new.public_key.keyid:
            changed = repository.following()
            changed.add_key(new.public_key, role)
            changed.revoke_key(old.public_key.keyid, role)
            _take_or_leave(repository, changed, [*signers, new] if role == Root.type else signers)
        adopt(repository)
        return new.public_key.keyid


def resign(repository: Repository, lock: ChannelLock, role: str, skip: int = 0) -> None:
    """Signs a role's metadata, and what names it, again under the present keys.

    Args:
        repository: the files.
        lock: held meanwhile.
        role: ``targets`` renews all online roles.
        skip: version numbers to leave out of the online roles: after a restore from a backup, nodes that saw later
            ones refuse to go back.

    Raises:
        BadRequest: there is no such role, or the root is to skip, which clients would not follow.
        Conflict: another next root waits for signatures.
        HubError: a key is missing.
        StorageError: the disk.
    """
    if role not in ROLES:
        raise BadRequest(f"no such role: {role!r}; expected {', '.join(ROLES)}")
    if skip and role != Targets.type:
        raise BadRequest("version numbers can only be left out of all online roles together: use the role targets")
    with lock.held():
        repository.heal()
        if role == Root.type:
            refuse_second(repository)
            _take_or_leave(repository, repository.following(), root_signers(repository, repository.root().signed))
        elif role == Targets.type:
            repository.commit(repository.state().targets.signed.targets, {}, skip=skip)
        else:
            repository.sign_again(role)


def root_signers(repository: Repository, root: Root) -> Sequence[Signer]:
    """The root's keys that lie here; a root of one key asks for it, since nothing is gained by waiting.

    Raises:
        HubError: the only key is missing, or one cannot be read.
    """
    key_ids = root.roles[Root.type].keyids
    found = repository.keys.root_signers(key_ids)
    return found if found or len(key_ids) > 1 else [repository.keys.signer(Root.type, key_ids)]


def _take_or_leave(repository: Repository, changed: Root, signers: Sequence[Signer]) -> None:
    found = Metadata(changed)
    for signer in signers:
        found.sign(signer, append=True)
    if missing(repository.root().signed, found):
        leave(repository, found)
    else:
        take(repository, found)
