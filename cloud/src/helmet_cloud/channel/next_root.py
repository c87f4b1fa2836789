# SPDX-License-Identifier: Apache-2.0
"""A next root that waits for signatures of people who keep their keys elsewhere.

It is one file, ``next-root.json`` beside the channel, and nothing else is remembered: holders sign it one after the
other, on any machine, and bring it back. Nodes take a root that is signed by as many keys as the root before asks for,
and by as many as it asks for itself (TUF specification, 5.3); nothing less is published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization.json import JSONSerializer

from helmet_agent.durable import remove_durable, reported, write_atomic
from helmet_cloud.channel.keys import ONLINE_ROLES
from helmet_cloud.errors import BadRequest, Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securesystemslib.signer import Key, Signer

    from helmet_cloud.channel.lock import ChannelLock
    from helmet_cloud.channel.repository import Repository

MAX_BYTES = 1 << 20
SHORT = 12
"""Letters of a key's id that people are shown."""

_READABLE = JSONSerializer(compact=False)


def propose(repository: Repository, lock: ChannelLock, public: Sequence[Path], threshold: int) -> Metadata[Root]:
    """Writes down a next root of other keys, signed by those of ``DIR/offline-keys``; nothing is published yet.

    Args:
        repository: the files.
        lock: held meanwhile.
        public: the public keys of all who may sign from then on, one file each.
        threshold: how many of them have to.

    Raises:
        BadRequest: the threshold is not between 1 and the number of keys, or a file holds no public key.
        Conflict: another next root waits already.
        StorageError: the disk.
    """
    keys = {key.keyid: key for key in map(read_public, public)}
    if len(keys) != len(public):
        raise BadRequest("the same key is given twice; every holder has one of their own")
    if not 1 <= threshold <= len(keys):
        raise BadRequest(f"threshold: expected 1 to {len(keys)}, the number of keys, found {threshold}")
    with lock.held():
        repository.heal()
        root = repository.following()
        for key_id in list(root.roles[Root.type].keyids):
            root.revoke_key(key_id, Root.type)
        for key in keys.values():
            root.add_key(key, Root.type)
        root.roles[Root.type].threshold = threshold
        return leave(repository, Metadata(root))


def leave(repository: Repository, root: Metadata[Root]) -> Metadata[Root]:
    """Writes a next root down for others to sign, with what the keys in ``DIR/offline-keys`` say to it.

    Raises:
        Conflict: another one waits. StorageError: the disk.
    """
    refuse_second(repository)
    present = repository.root().signed.roles[Root.type].keyids
    for signer in repository.keys.root_signers({*present, *root.signed.roles[Root.type].keyids}):
        root.sign(signer, append=True)
    write_atomic(repository.next_root, root.to_bytes(_READABLE), mode=0o644)
    return root


def refuse_second(repository: Repository) -> None:
    """There is one next root at a time.

    Raises:
        Conflict: one waits already.
    """
    path = repository.next_root
    if path.exists() and read_root(path).signed.version > repository.root().signed.version:
        raise Conflict(f"a next root waits already: {path}; publish it, or remove that file")


def sign(path: Path, signer: Signer) -> Metadata[Root]:
    """Adds one holder's signature to a next root; signing it twice changes nothing. Needs no hub.

    Raises:
        BadRequest: it is no root.
        StorageError: the disk.
    """
    root = read_root(path)
    root.sign(signer, append=True)
    write_atomic(path, root.to_bytes(_READABLE), mode=0o644)
    return root


def publish(repository: Repository, lock: ChannelLock) -> int:
    """Publishes the next root that waits, once enough have signed; returns its version. An interrupted call goes on.

    Raises:
        NotFound: none waits.
        Conflict: signatures are missing, or another root came first; nothing was published.
        HubError: an online key that it names is missing.
        StorageError: the disk.
    """
    with lock.held():
        repository.heal()
        if not repository.next_root.exists():
            raise NotFound(f"no next root waits in {repository.next_root}; `channel new-root` or `rotate` make one")
        root = read_root(repository.next_root)
        present = repository.root()
        if root.signed != present.signed:
            if root.signed.version != present.signed.version + 1:
                raise Conflict(
                    f"{repository.next_root} is version {root.signed.version}, but the channel has version "
                    f"{present.signed.version} now: nothing was published; remove that file and begin anew"
                )
            take(repository, root)
        adopt(repository)
        remove_durable(repository.next_root)
        return root.signed.version


def take(repository: Repository, root: Metadata[Root]) -> None:
    """Publishes a root; what new online keys have to sign is signed with both before. For a holder of the lock.

    Raises:
        Conflict: signatures are missing; nothing was published.
        HubError: an online key is missing. StorageError: the disk.
    """
    lacking = missing(repository.root().signed, root)
    if lacking:
        raise Conflict(f"nothing was published: {lacking}")
    present = repository.root().signed
    for role in ONLINE_ROLES:
        key_ids = root.signed.roles[role].keyids
        if key_ids != present.roles[role].keyids:
            repository.sign_again(role, {role: [repository.keys.signer(role, key_ids)]})
    repository.write_root(root)


def adopt(repository: Repository) -> None:
    """Coming keys that the root names take the place of the old ones."""
    root = repository.root().signed
    for role, one in root.roles.items():
        repository.keys.adopt(role, one.keyids)


def missing(present: Root, root: Metadata[Root]) -> str:
    """What a next root lacks before nodes take it, for people; "" when nothing."""
    found = root.signed.get_root_verification_result(present, root.signed_bytes, root.signatures)
    sides = (("the present root", found.first), ("the next root", found.second))
    return "; ".join(
        f"{len(one.signed)} of {one.threshold} signatures that {whose} asks for, {one.missing} missing, of "
        f"{', '.join(sorted(key_id[:SHORT] for key_id in one.unsigned))}"
        for whose, one in sides
        if not one.verified
    )


def waiting(repository: Repository) -> str:
    """What a next root waits for and how it goes on, for people; "" when none waits."""
    if not repository.next_root.exists():
        return ""
    path, present, root = repository.next_root, repository.root().signed, read_root(repository.next_root)
    if root.signed.version != present.version + 1:
        return f"{path} is version {root.signed.version}, the channel has {present.version}: remove that file"
    lacking = missing(present, root)
    sign_it = f"{lacking}; `helmet-cloud channel sign-root {path} --key FILE`, then" if lacking else "signed by enough;"
    return f"a next root waits in {path}: {sign_it} `helmet-cloud channel publish-root`"


def read_root(path: Path) -> Metadata[Root]:
    """A root in a file.

    Raises:
        BadRequest: it holds none. StorageError: it cannot be read.
    """
    try:
        with reported("read", path), path.open("rb") as file:
            found: Metadata[Any] = Metadata.from_bytes(file.read(MAX_BYTES))
    except (RepositoryError, ValueError) as error:
        raise BadRequest(f"{path} is no root: {error}") from error
    if not isinstance(found.signed, Root):
        raise BadRequest(f"{path} is no root but {found.signed.type}")
    return found


def read_public(path: Path) -> Key:
    """A holder's public key.

    Raises:
        BadRequest: it holds none. StorageError: it cannot be read.
    """
    try:
        with reported("read", path), path.open("rb") as file:
            return SSlibKey.from_crypto(load_pem_public_key(file.read(MAX_BYTES)))
    except ValueError as error:
        raise BadRequest(f"{path} is no public key: give the .pub file that `channel root-key` wrote") from error
