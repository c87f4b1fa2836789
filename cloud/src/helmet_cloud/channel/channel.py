# SPDX-License-Identifier: Apache-2.0
"""Publishes models: from a model folder to a signed manifest in a ring of a job.

Each publication is written down in the database before the channel changes and marked as done afterwards. Whoever
writes next looks at what was left open: the signed channel itself says whether the change was seen through.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from tuf.api.metadata import TargetFile

from helmet_agent.contract import ModelManifest
from helmet_agent.durable import reported
from helmet_agent.errors import StorageError
from helmet_cloud.channel.layout import file_path, manifest_path
from helmet_cloud.channel.model_folder import WEIGHTS, keep_model, open_model
from helmet_cloud.core.exposure import CANARY, exposure
from helmet_cloud.errors import BadRequest, Conflict, NotFound
from helmet_cloud.ports import JobRef, Publication, Published
from helmet_cloud.store.models import (
    ABANDONED,
    PUBLISHED,
    ModelFacts,
    begin_publication,
    last_release,
    pending_publications,
    publications,
    register_model,
)
from helmet_cloud.store.nodes import members

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from helmet_agent.contract import Delivery
    from helmet_cloud.channel.lock import ChannelLock
    from helmet_cloud.channel.model_folder import ModelFolder
    from helmet_cloud.channel.repository import Repository
    from helmet_cloud.store.database import Database

_log = structlog.get_logger(__name__)

KEPT_MANIFESTS = 5
"""Publications of a ring whose files stay, for nodes that are in the middle of a download."""


@dataclass(frozen=True, slots=True)
class LiveManifest:
    """What a ring has now: the manifest that nodes read, and its bytes."""

    manifest: ModelManifest
    content: bytes


class SignedChannel:
    """The hub's ``ModelChannel``; safe to use from any thread and beside other processes.

    Args:
        database: history and registry.
        repository: the signed files.
        models: where model folders stay, by digest.
        lock: held for each change.
        now: Unix time in seconds.
        canary_share: of the nodes that follow a job, how many may take its models from the canary ring.
        reached: told the name of each step once it is durable; tests end the process there.
    """

    def __init__(
        self,
        *,
        database: Database,
        repository: Repository,
        models: Path,
        lock: ChannelLock,
        now: Callable[[], float],
        canary_share: float = 1.0,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._canary_share = canary_share
        self._database = database
        self._repository = repository
        self._models = models
        self._lock = lock
        self._now = now
        self._reached = reached

    def publish(self, publication: Publication) -> Published:
        """Signs and publishes; publishing what the ring already has with the same manifest changes nothing.

        Raises:
            HubError: the folder is no complete model, or keys are missing.
            Conflict: more nodes are in the canary ring than may be.
            StorageError: the disk; readers still see the old state.
        """
        manifest_path(publication.job, publication.ring)
        model = open_model(publication.folder, need_weights=False)
        if not (model.folder / WEIGHTS).is_file():
            _log.warning("published without float weights: no round can start from it", model=model.sha256)
        manifest = _manifest(model, publication)
        with self._lock.held():
            self._heal()
            self._register(model, f"{publication.job}: {publication.reason}")
            excess = self._excess(publication)
            reason = publication.reason
            if publication.any_canaries and excess:
                reason, excess = f"{reason} ({excess}; let out all the same)", ""
            return self._publish(publication.job, publication.ring, manifest, reason, excess)

    def promote(self, job: JobRef, reason: str, only: int | None = None) -> Published:
        """Publishes to everybody what the canary ring has, under a release of its own.

        Args:
            job: whose rings are meant.
            reason: for the history.
            only: the release that the canary ring must have; None: any.

        Raises:
            NotFound: the canary ring has nothing, or another release.
            HubError: keys are missing.
            StorageError: the disk.
        """
        with self._lock.held():
            self._heal()
            live = self.manifest(job, "canary")
            if live is None or only not in (None, live.manifest.release):
                raise NotFound(f"{job} has {'nothing' if live is None else 'another release'} in ring 'canary'")
            return self._publish(job, "stable", live.manifest, reason)

    def restore(self, job: JobRef, ring: str, release: int, reason: str) -> Published:
        """Publishes again, under a new release, what an earlier one had; nothing when the ring has that already.

        Raises:
            NotFound: the job never published that release, or its model is gone.
            HubError: keys are missing.
            StorageError: the disk.
        """
        with self._lock.held():
            self._heal()
            with self._database.read() as session:
                rows = [one for one in publications(session, job) if one.release == release and one.state == PUBLISHED]
            if not rows:
                raise NotFound(f"{job} never published release {release}")
            return self._publish(job, ring, ModelManifest.from_bytes(rows[0].manifest.encode()), reason)

    def add(self, folder: Path, origin: str, weights: Path | None = None) -> ModelFolder:
        """Takes a model into the registry without publishing it.

        Args:
            folder: the model.
            origin: where it comes from, for people.
            weights: its float weights, where they do not lie in the folder.

        Raises:
            BadRequest: the folder is no complete model.
            StorageError: the disk.
        """
        model = open_model(folder, need_weights=weights is None)
        with self._lock.held():
            return self._register(model, origin, weights)

    def live(self, job: JobRef, ring: str) -> Published | None:
        """What the ring has now."""
        target = self._repository.state().targets.signed.targets.get(manifest_path(job, ring))
        return None if target is None else Published(target.custom["model"], target.custom["release"])

    def manifest(self, job: JobRef, ring: str) -> LiveManifest | None:
        """The manifest that the ring has now.

        Raises:
            HubError: it cannot be read.
        """
        target = self._repository.state().targets.signed.targets.get(manifest_path(job, ring))
        if target is None:
            return None
        path = self._repository.targets / target.get_prefixed_paths()[0]
        with reported("read", path):
            content = path.read_bytes()
        return LiveManifest(ModelManifest.from_bytes(content), content)

    def freshen(self) -> list[str]:
        """Signs again what has less than half of its lifetime left; returns the roles.

        Raises:
            HubError: a key is missing.
            StorageError: the disk.
        """
        with self._lock.held():
            self._heal()
            role = self._repository.due()
            if role is None:
                return []
            self._repository.sign_again(role)
            return [role]

    def heal(self) -> None:
        """Ends what an interrupted publication left open; the serving hub does it at its start."""
        with self._lock.held():
            self._heal()

    def _register(self, model: ModelFolder, origin: str, weights: Path | None = None) -> ModelFolder:
        kept = keep_model(model, self._models, weights)
        self._reached("copied")
        facts = model.manifest
        with self._database.write() as session:
            size = facts.model.size_bytes
            known = ModelFacts(model.sha256, facts.name, size, facts.parent, facts.dataset, origin)
            register_model(session, known, self._now())
        self._reached("registered")
        return kept

    def _excess(self, publication: Publication) -> str:
        """Why the canary ring is too large for something new; "" when it is not, or not meant."""
        if publication.ring != CANARY:
            return ""
        with self._database.read() as session:
            nodes = members(session)
        return exposure(nodes, str(publication.job), self._now()).excess(self._canary_share)

    def _publish(self, job: JobRef, ring: str, manifest: ModelManifest, reason: str, excess: str = "") -> Published:
        live = self.manifest(job, ring)
        if live is not None and replace(live.manifest, release=manifest.release) == manifest:
            return Published(live.manifest.model.sha256, live.manifest.release)
        if excess:
            raise Conflict(f"nothing was published: {excess}; move nodes to ring stable, or publish --any-canaries")
        files = open_model(self._models / manifest.model.sha256, need_weights=False).shipped() | self._golden(manifest)
        targets = self._repository.state().targets.signed.targets
        release = 1 + max(_highest(job, targets), self._last_release(job))
        manifest = replace(manifest, release=release)
        sha256, text = manifest.model.sha256, manifest.to_bytes().decode()
        with self._database.write() as session:
            begin_publication(session, job, ring, release, sha256=sha256, manifest=text, reason=reason, now=self._now())
        self._reached("begun")
        path = manifest_path(job, ring)
        ours = target_files(path, manifest)
        contents = {file_path(digest): content for digest, content in files.items() if file_path(digest) in ours}
        self._repository.commit(_merged(targets, ours), contents | {path: manifest.to_bytes()})
        self._finish()
        self._reached("recorded")
        _log.info("published", job=str(job), ring=ring, release=release, model=sha256, reason=reason)
        self._prune()
        self._reached("pruned")
        return Published(sha256, release)

    def _golden(self, manifest: ModelManifest) -> dict[str, bytes]:
        """Golden pictures of a manifest that is not the kept folder's own: out of the channel, where they are."""
        found = {}
        for frame in manifest.golden:
            name = f"{frame.picture.sha256}.{frame.picture.sha256}"
            path = self._repository.targets / "files" / name
            with reported("read", path):
                if path.is_file():
                    found[frame.picture.sha256] = path.read_bytes()
        return found

    def _last_release(self, job: JobRef) -> int:
        with self._database.read() as session:
            return last_release(session, job)

    def _heal(self) -> None:
        self._repository.heal()
        self._finish()

    def _finish(self) -> None:
        """Compares what was begun with what the channel says."""
        targets = self._repository.state().targets.signed.targets
        with self._database.read() as session:
            if not pending_publications(session):
                return
        with self._database.write() as session:
            for row in pending_publications(session):
                target = targets.get(manifest_path(JobRef(row.namespace, row.job), row.ring))
                seen = target is not None and target.custom["release"] == row.release
                row.state = PUBLISHED if seen else ABANDONED
                row.finished_seconds = self._now()

    def _prune(self) -> None:
        """Removes files that neither a ring nor one of its last publications names; a failure waits for the next."""
        kept = dict(self._repository.state().targets.signed.targets)
        counts: dict[tuple[str, str, str], int] = {}
        old: list[TargetFile] = []
        with self._database.read() as session:
            for row in publications(session):
                ring = (row.namespace, row.job, row.ring)
                counts[ring] = counts.get(ring, 0) + (row.state == PUBLISHED)
                if row.state == PUBLISHED and counts[ring] <= KEPT_MANIFESTS:
                    path = manifest_path(JobRef(row.namespace, row.job), row.ring)
                    old += target_files(path, ModelManifest.from_bytes(row.manifest.encode())).values()
        try:
            self._repository.prune([*kept.values(), *old])
        except StorageError as error:
            _log.warning("old files of the channel stay for now", reason=str(error))


def target_files(path: str, manifest: ModelManifest) -> dict[str, TargetFile]:
    """The targets of one publication: its manifest at ``path`` and every file that it names."""
    named = {one.sha256: one for one in (manifest.model, *(frame.picture for frame in manifest.golden))}
    found = {
        file_path(digest): TargetFile(one.size_bytes, {"sha256": digest}, file_path(digest))
        for digest, one in named.items()
    }
    target = TargetFile.from_data(path, manifest.to_bytes(), ["sha256"])
    target.unrecognized_fields["custom"] = {
        "release": manifest.release,
        "model": manifest.model.sha256,
        "files": sorted(named),
    }
    return {**found, path: target}


def _merged(targets: Mapping[str, TargetFile], ours: Mapping[str, TargetFile]) -> dict[str, TargetFile]:
    """The targets of every ring, without files that no ring's manifest names any longer."""
    manifests = {path: target for path, target in targets.items() if path.startswith("jobs/")} | {
        path: target for path, target in ours.items() if path.startswith("jobs/")
    }
    named = {file_path(digest) for target in manifests.values() for digest in target.custom["files"]}
    return {path: target for path, target in {**targets, **ours}.items() if path in manifests or path in named}


def _highest(job: JobRef, targets: Mapping[str, TargetFile]) -> int:
    beginning = f"jobs/{job.namespace}/{job.name}/"
    return max((one.custom["release"] for path, one in targets.items() if path.startswith(beginning)), default=0)


def _manifest(model: ModelFolder, publication: Publication) -> ModelManifest:
    base = model.manifest
    try:
        json.dumps(publication.report, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"report of {publication.job}: expected JSON with finite numbers: {error}") from error
    return replace(
        base,
        mining=publication.mining,
        delivery=_delivery(publication.delivery, publication.job),
        parent=publication.parent or base.parent,
        dataset=publication.dataset or base.dataset,
        report=publication.report or base.report,
    )


def _delivery(delivery: Delivery, job: JobRef) -> Delivery:
    return replace(delivery, job=str(job))
