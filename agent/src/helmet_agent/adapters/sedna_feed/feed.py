# SPDX-License-Identifier: Apache-2.0
"""New models as Sedna's hot update brings them.

A poll reads one small file and compares versions; only another version is copied. What comes of it is kept in
``known.json`` beside the copy, so that a restart neither copies nor judges anything twice. A version whose file is no
model is looked at again when the file changes, a model that was refused when another version is announced.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Protocol

from helmet_agent.adapters.sedna_feed.announcement import Announcement, UnfinishedError, read_announcement
from helmet_agent.adapters.sedna_feed.package import MANIFEST
from helmet_agent.adapters.sedna_feed.staging import (
    SourceState,
    copy_source,
    empty_folder,
    make_model,
    source_state,
)
from helmet_agent.contract import ContractError, Delivery, ModelManifest
from helmet_agent.durable import make_folder, reported, write_atomic
from helmet_agent.errors import StorageError, UpdateError
from helmet_agent.ports import ModelOffer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_agent.contract import FileReference

KNOWN, STAGED, COPY = "known.json", "staged", "copy"


@dataclass(frozen=True, slots=True)
class Announced:
    """What became of an announced version.

    Attributes:
        version: as announced.
        release: the number that it got here; grows with every version.
        sha256: of the model; empty where there is none.
        key: sha256 of its manifest here; empty where there is nothing to take.
        problem: why there is no model, one line; empty when there is one.
        source: the announced file as it was then.
    """

    version: str
    release: int
    sha256: str = ""
    key: str = ""
    problem: str = ""
    source: SourceState | None = None


class Event(Protocol):
    """What is used of ``threading.Event``."""

    def is_set(self) -> bool:
        """Whether it was set."""

    def set(self) -> None:
        """Sets it."""


class SednaFeed:
    """Implements ``ports.ModelFeed`` over ``MODEL_HOT_UPDATE_CONFIG``.

    Args:
        file: the announcement.
        folder: of our own; made when it is not there.
        serving: folder of the model that serves now.
        newest: the highest release number that this node ever confirmed or serves.
        delivery: what the offers' manifests say of it.
        cancelled: set by ``cancel``; looked at while a model is copied.
    """

    def __init__(
        self,
        file: Path,
        folder: Path,
        *,
        serving: Callable[[], Path],
        newest: Callable[[], int],
        delivery: Delivery,
        cancelled: Event | None = None,
    ) -> None:
        self._file = file
        self._folder = folder
        self._serving = serving
        self._newest = newest
        self._delivery = delivery
        self._cancelled: Event = threading.Event() if cancelled is None else cancelled
        self._unfinished: SourceState | None = None
        self._offer: ModelOffer | None = None
        self.announced: Announced | None = self._recall()
        self.copies = 0

    def check(self) -> ModelOffer | None:
        """What is announced now; None when nothing is, or what serves already.

        Raises:
            UpdateError: it could not be had. StorageError: it could not be kept.
        """
        found = self._read()
        if found is None:
            return self._offer
        known = self.announced
        if known is None or known.version != found.version or not self._still_good(found, known):
            self._bring(found, anew=known is None or known.version != found.version)
        offer = self._offer
        if offer is not None:
            self._offer = replace(offer, anew=False)
        return offer

    def fetch(self, wanted: FileReference, into: Path) -> None:
        """Gives a file of the latest offer, whole and verified.

        Raises:
            UpdateError: it is not the one that was offered. StorageError: it cannot be written.
        """
        path = self._folder / STAGED / wanted.name
        with reported("read", path):
            content = path.read_bytes()
        if len(content) != wanted.size_bytes or hashlib.sha256(content).hexdigest() != wanted.sha256:
            raise UpdateError(f"{path}: was changed after it had been looked at")
        write_atomic(into, content)

    def cancel(self) -> None:
        """Ends a copy soon; from any thread."""
        self._cancelled.set()

    def _read(self) -> Announcement | None:
        """The announcement; what is just being written counts as not announced yet.

        Raises:
            UpdateError: it cannot be read, or is the same nonsense as at the last poll.
        """
        state = source_state(self._file)
        try:
            found = read_announcement(self._file)
        except UnfinishedError:
            if state is None or state != self._unfinished:
                self._unfinished = state
                return None
            raise
        self._unfinished = None
        return found

    def _still_good(self, found: Announcement, known: Announced) -> bool:
        """Whether nothing has to be copied for a version that was looked at before."""
        if known.problem:
            return source_state(found.path) == known.source  # as bad as before: told once, not copied again
        if not known.key:
            return True  # it served already
        if self._offer is None or self._offer.key != known.key:
            self._offer = self._staged(known)
        return self._offer is not None

    def _bring(self, found: Announcement, *, anew: bool) -> None:
        """Copies the announced model and makes an offer of it."""
        self._offer = None
        make_folder(self._folder)
        before = source_state(found.path)
        last = 0 if self.announced is None else self.announced.release
        release = max(last, self._newest()) + 1 if anew else last
        try:
            copy = self._folder / COPY
            self.copies += 1
            copy_source(found.path, copy, self._cancelled.is_set)
            self._check_still(found, before)
            empty_folder(self._folder / STAGED)
            manifest = make_model(copy, found.path, self._folder / STAGED, self._serving())
        except (_RestlessError, UnfinishedError, StorageError):
            raise
        except UpdateError as error:
            if not self._cancelled.is_set():
                self._remember(Announced(found.version, release, problem=str(error), source=before))
            raise
        finally:
            (self._folder / COPY).unlink(missing_ok=True)
        if manifest.model.sha256 == _served(self._serving()):
            self._remember(Announced(found.version, release, manifest.model.sha256))
            return
        manifest = replace(manifest, release=release, delivery=self._delivery)
        content = manifest.to_bytes()
        write_atomic(self._folder / STAGED / MANIFEST, content)
        key = hashlib.sha256(content).hexdigest()
        self._remember(Announced(found.version, release, manifest.model.sha256, key))
        self._offer = ModelOffer(key, manifest, content, anew=anew)

    def _check_still(self, found: Announcement, before: SourceState | None) -> None:
        if source_state(found.path) != before or read_announcement(self._file) != found:
            raise _RestlessError(f"{found.path}: was written to while it was copied; trying again")

    def _staged(self, known: Announced) -> ModelOffer | None:
        try:
            content = (self._folder / STAGED / MANIFEST).read_bytes()
            manifest = ModelManifest.from_bytes(content)
        except (OSError, ContractError):
            return None
        key = hashlib.sha256(content).hexdigest()
        return ModelOffer(key, manifest, content) if key == known.key else None

    def _remember(self, known: Announced) -> None:
        write_atomic(self._folder / KNOWN, json.dumps(asdict(known)).encode())
        self.announced = known

    def _recall(self) -> Announced | None:
        try:
            found = json.loads((self._folder / KNOWN).read_bytes())
            source = found.pop("source")
            return Announced(**found, source=None if source is None else SourceState(**source))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None  # never seen, or damaged: then the announcement is looked at as if it were new


class _RestlessError(UpdateError):
    """The controller was at work meanwhile."""


def _served(folder: Path) -> str:
    try:
        return ModelManifest.from_bytes((folder / MANIFEST).read_bytes()).model.sha256
    except (OSError, ContractError):
        return ""
