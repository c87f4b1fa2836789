# SPDX-License-Identifier: Apache-2.0
"""The TUF repository on disk (https://theupdateframework.github.io/specification/latest/, consistent snapshots).

A change is written in the order target files, ``N.targets.json``, ``N.snapshot.json``, ``timestamp.json``, each durable
before the next begins. Readers find everything through timestamp.json, so they see the old state or the new one; what a
crash left behind before that last step is named nowhere and is removed by ``heal``.
"""

from __future__ import annotations

import copy
import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from helmet_agent.durable import make_folder, remove_durable, reported, sweep_temporaries, write_atomic
from helmet_cloud.channel.keys import ONLINE_ROLES, ROLES
from helmet_cloud.channel.layout import METADATA, NEXT_ROOT, TARGETS, TIMESTAMP_FILE
from helmet_cloud.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import Signer

    from helmet_cloud.channel.keys import KeyStore

    MoreSigners = Mapping[str, Sequence[Signer]]

DAY = 86400.0
LIFETIMES = {Root.type: 365 * DAY, Targets.type: 90 * DAY, Snapshot.type: 14 * DAY, Timestamp.type: 2 * DAY}
"""Seconds after which a role's metadata is refused by nodes."""

KEPT_METADATA = 10
"""Versions of snapshot and targets metadata that stay, for readers that began with an older timestamp."""

PUBLIC, PUBLIC_FOLDER = 0o644, 0o755
_VERSIONED = re.compile(r"([1-9][0-9]{0,15})\.(root|targets|snapshot)\.json\Z")
_COMPACT = JSONSerializer(compact=True)


@dataclass(frozen=True, slots=True)
class State:
    """What a reader sees now."""

    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]

    def expires(self) -> dict[str, float]:
        """Unix time at which each role's metadata expires."""
        return {role: getattr(self, role).signed.expires.timestamp() for role in ROLES}


class Repository:
    """Reads and writes the metadata; one writer at a time (``ChannelLock``), any number of readers.

    Args:
        folder: ``HubHome.channel``.
        keys: the signing keys.
        now: Unix time in seconds.
        reached: told the name of each step once it is durable; tests end the process there.
    """

    def __init__(
        self, folder: Path, keys: KeyStore, now: Callable[[], float], reached: Callable[[str], None] = lambda _: None
    ) -> None:
        self.metadata = folder / METADATA
        self.targets = folder / TARGETS
        self.next_root = folder.with_name(NEXT_ROOT)
        self.keys = keys
        self._now = now
        self._reached = reached

    def exists(self) -> bool:
        """Whether there is something to read."""
        return (self.metadata / TIMESTAMP_FILE).exists()

    def create(self) -> None:
        """The first, empty state, with keys of its own; goes on where an interrupted call stopped.

        Raises:
            HubError: keys that are there cannot be read.
            StorageError: it cannot be written.
        """
        make_folder(self.metadata, mode=PUBLIC_FOLDER)
        make_folder(self.targets, mode=PUBLIC_FOLDER)
        path = self.metadata / "1.root.json"
        if not path.exists():
            root = Root(version=1, expires=self.expiry(Root.type), consistent_snapshot=True)
            for role in ROLES:
                root.add_key(self.keys.ensure(role).public_key, role)
            self._write(Metadata(root), path.name, [self.keys.ensure(Root.type)])
        self._reached("root")
        if not self.exists():
            self._write_from_targets(self.root(), Targets(version=1, expires=self.expiry(Targets.type)), 1, 1, {})

    def root(self) -> Metadata[Root]:
        """The newest root.

        Raises:
            HubError: there is none, or it cannot be read.
        """
        versions = self._versions(Root.type)
        if not versions:
            raise HubError(f"no channel in {self.metadata}; run `helmet-cloud init` first")
        return self._read(f"{max(versions)}.root.json", Root)

    def state(self) -> State:
        """What a reader sees now.

        Raises:
            HubError: a part is missing or cannot be read.
        """
        root = self.root()
        timestamp = self._read(TIMESTAMP_FILE, Timestamp)
        snapshot = self._read(f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)
        targets = self._read(f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets)
        return State(root, timestamp, snapshot, targets)

    def commit(
        self,
        targets: Mapping[str, TargetFile],
        contents: Mapping[str, bytes],
        signers: MoreSigners | None = None,
        skip: int = 0,
    ) -> None:
        """Makes these the targets.

        Args:
            targets: all of them, by target path.
            contents: bytes of those that may be new.
            signers: more keys to sign with, by role, during a rotation.
            skip: version numbers to leave out, after a restore from an old backup.

        Raises:
            HubError: a key is missing.
            StorageError: it cannot be written; readers still see the old state.
        """
        state = self.state()
        for path, content in contents.items():
            self._put_target(targets[path], content)
            self._reached("file")
        for path, target in targets.items():
            if not (self.targets / target.get_prefixed_paths()[0]).exists():
                raise HubError(f"the channel lacks the file of {path}: nothing was published; publish the model anew")
        self._reached("files")
        version = state.targets.signed.version + 1 + skip
        signed = Targets(version=version, expires=self.expiry(Targets.type), targets=dict(targets))
        self._write_from_targets(
            state.root,
            signed,
            state.snapshot.signed.version + 1 + skip,
            state.timestamp.signed.version + 1 + skip,
            signers or {},
        )

    def sign_again(self, role: str, signers: MoreSigners | None = None) -> None:
        """Gives the online role, and those that name it, a new version with a new expiry; the targets stay.

        Raises:
            HubError: a key is missing.
            StorageError: it cannot be written.
        """
        state, more = self.state(), signers or {}
        if role == Targets.type:
            self.commit(state.targets.signed.targets, {}, more)
            return
        version = state.timestamp.signed.version + 1
        if role == Snapshot.type:
            targets = state.snapshot.signed.meta["targets.json"]
            self._write_snapshot(state.root, targets, state.snapshot.signed.version + 1, version, more)
        else:
            self._write_timestamp(state.root, state.timestamp.signed.snapshot_meta, version, more)

    def following(self) -> Root:
        """What a next root begins as: the present one, one version on, with its whole lifetime before it."""
        found = copy.deepcopy(self.root().signed)
        found.version += 1
        found.expires = self.expiry(Root.type)
        return found

    def write_root(self, root: Metadata[Root]) -> None:
        """Publishes a signed root; its version must follow on the newest one's."""
        self._write(root, f"{root.signed.version}.root.json", ())
        self._reached("root")

    def due(self) -> str | None:
        """The outermost online role of whose lifetime less than half is left; None when all is fresh."""
        expires, now = self.state().expires(), self._now()
        return next((role for role in ONLINE_ROLES if expires[role] - now < LIFETIMES[role] / 2), None)

    def heal(self) -> None:
        """Removes what interrupted changes left behind.

        Raises:
            StorageError: it cannot be removed.
        """
        state = self.state()
        sweep_temporaries(self.metadata)
        for role, live in ((Targets.type, state.targets), (Snapshot.type, state.snapshot)):
            found = self._versions(role)
            kept = [version for version in found if version <= live.signed.version][-KEPT_METADATA:]
            gone = [self.metadata / f"{version}.{role}.json" for version in found if version not in kept]
            remove_durable(*gone)

    def prune(self, kept: Sequence[TargetFile]) -> int:
        """Removes every target file but these; returns how many went.

        Raises:
            StorageError: one cannot be removed.
        """
        names = {self.targets / path for one in kept for path in one.get_prefixed_paths()}
        removed = 0
        with reported("clean up", self.targets):
            found = [path for path in self.targets.rglob("*") if path.is_file() and path not in names]
        for path in found:
            removed += remove_durable(path)
        return removed

    def _put_target(self, target: TargetFile, content: bytes) -> None:
        path = self.targets / target.get_prefixed_paths()[0]
        make_folder(path.parent, mode=PUBLIC_FOLDER)
        if not path.exists():
            write_atomic(path, content, mode=PUBLIC)

    def _write_from_targets(
        self,
        root: Metadata[Root],
        targets: Targets,
        snapshot: int,
        timestamp: int,
        more: MoreSigners,
    ) -> None:
        name = f"{targets.version}.targets.json"
        content = self._write(Metadata(targets), name, self._signers(root, Targets.type, more))
        self._reached(Targets.type)
        meta = MetaFile.from_data(targets.version, content, ["sha256"])
        self._write_snapshot(root, meta, snapshot, timestamp, more)

    def _write_snapshot(
        self,
        root: Metadata[Root],
        targets: MetaFile,
        version: int,
        timestamp: int,
        more: MoreSigners,
    ) -> None:
        signed = Snapshot(version=version, expires=self.expiry(Snapshot.type), meta={"targets.json": targets})
        content = self._write(Metadata(signed), f"{version}.snapshot.json", self._signers(root, Snapshot.type, more))
        self._reached(Snapshot.type)
        self._write_timestamp(root, MetaFile.from_data(version, content, ["sha256"]), timestamp, more)

    def _write_timestamp(self, root: Metadata[Root], snapshot: MetaFile, version: int, more: MoreSigners) -> None:
        signed = Timestamp(version=version, expires=self.expiry(Timestamp.type), snapshot_meta=snapshot)
        self._write(Metadata(signed), TIMESTAMP_FILE, self._signers(root, Timestamp.type, more))
        self._reached(Timestamp.type)

    def _signers(self, root: Metadata[Root], role: str, more: MoreSigners) -> list[Signer]:
        return [self.keys.signer(role, root.signed.roles[role].keyids), *more.get(role, ())]

    def _write(self, metadata: Metadata[Any], name: str, signers: Sequence[Signer]) -> bytes:
        for signer in signers:
            metadata.sign(signer, append=True)
        content = metadata.to_bytes(_COMPACT)
        write_atomic(self.metadata / name, content, mode=PUBLIC)
        return content

    def _read(self, name: str, kind: type) -> Metadata[Any]:
        path = self.metadata / name
        try:
            with reported("read", path):
                found: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
        except (RepositoryError, ValueError) as error:
            raise HubError(f"{path} cannot be read: {error}; restore the channel folder from a backup") from error
        if not isinstance(found.signed, kind):
            raise HubError(f"{path} is no {kind.__name__.lower()} metadata; restore the channel folder from a backup")
        return found

    def _versions(self, role: str) -> list[int]:
        with reported("read", self.metadata):
            names = [path.name for path in self.metadata.iterdir()] if self.metadata.is_dir() else []
        found = [_VERSIONED.match(name) for name in names]
        return sorted(int(one[1]) for one in found if one and one[2] == role)

    def expiry(self, role: str) -> dt.datetime:
        """When metadata of that role that is signed now expires."""
        return dt.datetime.fromtimestamp(int(self._now() + LIFETIMES[role]), dt.UTC)
