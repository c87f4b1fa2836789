# SPDX-License-Identifier: Apache-2.0
"""New keys, and new signatures under the old ones, without a moment at which a reader finds nothing it can trust.

An online role's metadata is first signed with the old and the new key; then a new root takes the new key in and the old
one out. Readers with the old root and readers with the new one both accept the metadata. A new root key signs the root
together with the old one (TUF specification, 6.1), so nodes that were given any older root follow the chain.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from tuf.api.metadata import Root, Targets

from helmet_cloud.channel.keys import ONLINE_ROLES, ROLES
from helmet_cloud.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Signer

    from helmet_cloud.channel.lock import ChannelLock
    from helmet_cloud.channel.repository import Repository


def rotate(repository: Repository, lock: ChannelLock, role: str) -> str:
    """Gives a role a new key; an interrupted rotation is finished instead. Returns the new key's id.

    Raises:
        BadRequest: there is no such role.
        HubError: the root key, or the role's, is missing.
        StorageError: the disk.
    """
    if role not in ROLES:
        raise BadRequest(f"no such role: {role!r}; expected {', '.join(ROLES)}")
    keys = repository.keys
    with lock.held():
        repository.heal()
        root = repository.root().signed
        root_key = keys.signer(Root.type, root.roles[Root.type].keyids)
        old = keys.signer(role, root.roles[role].keyids)
        new = keys.ensure(role, coming=True)
        if old.public_key.keyid != new.public_key.keyid:
            if role in ONLINE_ROLES:
                repository.sign_again(role, {role: [new]})
            changed = _next(repository, root)
            changed.add_key(new.public_key, role)
            changed.revoke_key(old.public_key.keyid, role)
            signers: Sequence[Signer] = [root_key, new] if role == Root.type else [root_key]
            repository.write_root(changed, signers)
        keys.adopt(role)
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
            root = repository.root().signed
            repository.write_root(_next(repository, root), [repository.keys.signer(role, root.roles[role].keyids)])
        elif role == Targets.type:
            repository.commit(repository.state().targets.signed.targets, {}, skip=skip)
        else:
            repository.sign_again(role)


def _next(repository: Repository, root: Root) -> Root:
    found = copy.deepcopy(root)
    found.version += 1
    found.expires = repository.expiry(Root.type)
    return found
