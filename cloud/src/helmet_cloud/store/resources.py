# SPDX-License-Identifier: Apache-2.0
"""Resources in Kubernetes form, with versions, optimistic locking and a log of changes for those who watch."""

from __future__ import annotations

import copy
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from helmet_cloud.errors import Conflict, HubError, NotFound
from helmet_cloud.store.resource_rows import ChangeRow, Document, ResourceRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session

    from helmet_cloud.store.database import Database

DEFAULT_NAMESPACE = "default"
CHANGES_KEPT = 1000
"""Length of the log of changes; who watches from further back has to list again."""

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"

# What only the hub writes; whatever a client sends in these places is replaced.
_OWNED = ("uid", "creationTimestamp", "generation", "resourceVersion", "namespace", "name")


class AlreadyExists(Conflict):
    """An object of that name is there."""


class Expired(HubError):  # noqa: N818 - Kubernetes' own name
    """The log of changes does not reach back so far: list again."""

    status = 410


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a resource.

    Attributes:
        version: number of the change.
        type: ``ADDED``, ``MODIFIED`` or ``DELETED``.
        kind, namespace, name: of the resource.
        document: the resource after the change (before it, when it was deleted).
        labels_before: its labels before the change; None when it was added.
    """

    version: int
    type: str
    kind: str
    namespace: str
    name: str
    document: Document
    labels_before: dict[str, str] | None = None


class ResourceStore:
    """Resources of every kind; safe to use from any thread.

    Documents are plain dictionaries in Kubernetes form. They are validated before they come here; what the store
    answers is the caller's own copy. Versions grow over all kinds.

    Args:
        database: where they are kept.
        now: Unix time in seconds.
        new_uid: makes the uid of a new object.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], float] = time.time,
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.database = database
        self.now = now
        self.new_uid = new_uid
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []

    def get(self, kind: str, namespace: str, name: str) -> Document:
        """One resource.

        Raises:
            NotFound: there is none.
        """
        with self.database.read() as session:
            return _row(session, kind, namespace, name).document

    def list(self, kind: str, namespace: str | None = None, *, about: str | None = None) -> Sequence[Document]:
        """Resources of a kind by namespace and name; of one namespace, or of all of them."""
        return self.list_at(kind, namespace, about=about)[0]

    def list_at(
        self, kind: str, namespace: str | None = None, *, about: str | None = None
    ) -> tuple[Sequence[Document], int]:
        """As ``list``, with the version of the whole store at that moment, to watch from."""
        query = select(ResourceRow).where(ResourceRow.kind == kind)
        if namespace is not None:
            query = query.where(ResourceRow.namespace == namespace)
        if about is not None:
            query = query.where(ResourceRow.about == about)
        with self.database.read() as session:
            rows = session.scalars(query.order_by(ResourceRow.namespace, ResourceRow.name)).all()
            return [row.document for row in rows], _version(session)

    def namespaces(self) -> Sequence[str]:
        """Namespaces that hold something, and ``default``."""
        with self.database.read() as session:
            used = session.scalars(select(ResourceRow.namespace).distinct()).all()
        return sorted({DEFAULT_NAMESPACE, *used} - {""})

    def version(self) -> int:
        """Number of the last change."""
        with self.database.read() as session:
            return _version(session)

    def create(self, document: Document, *, about: str | None = None, dry_run: bool = False) -> Document:
        """Keeps a new resource; namespace and name stand in its metadata.

        Args:
            document: the resource; ``status`` and what only the hub writes are left out of account.
            about: by which ``list`` finds it too.
            dry_run: only say what would be answered.

        Raises:
            AlreadyExists: there is one of that name.
        """
        document = copy.deepcopy(document)
        meta = document["metadata"]
        key = (document["kind"], meta["namespace"], meta["name"])
        meta |= {"uid": self.new_uid(), "creationTimestamp": timestamp(self.now()), "generation": 1}
        meta.pop("resourceVersion", None)
        with self.database.read() if dry_run else self.database.write() as session:
            if session.get(ResourceRow, key) is not None:
                raise AlreadyExists(f"{key[0]} {key[1]}/{key[2]} is there already")
            if dry_run:
                return document
            version = _log(session, ADDED, key, document)
            session.add(ResourceRow(**_named(key), version=version, about=about, document=document))
        self._tell()
        return copy.deepcopy(document)

    def update(
        self,
        kind: str,
        namespace: str,
        name: str,
        change: Callable[[Document], Document],
        *,
        status: bool = False,
        dry_run: bool = False,
    ) -> Document:
        """Reads, changes and keeps a resource in one transaction. A change that changes nothing makes no version.

        Args:
            kind: of the resource.
            namespace: of the resource.
            name: of the resource.
            change: gets a copy of the resource, returns the new one.
            status: keep only the new one's ``status`` instead of all but it.
            dry_run: only say what would be answered.

        Raises:
            NotFound: there is none.
            Conflict: the new one names a resourceVersion or uid that is not the present one's.
        """
        with self.database.read() if dry_run else self.database.write() as session:
            row = _row(session, kind, namespace, name)
            wanted = change(copy.deepcopy(row.document))
            _check_precondition(row.document, wanted.get("metadata") or {})
            document = _merged(row.document, wanted, status=status)
            if document == row.document or dry_run:
                return copy.deepcopy(document)
            labels = row.document["metadata"].get("labels", {})
            row.version = _log(session, MODIFIED, (kind, namespace, name), document, labels)
            row.document = document
        self._tell()
        return copy.deepcopy(document)

    def replace(self, document: Document, *, dry_run: bool = False) -> Document:
        """Keeps a resource in place of the one that is there; raises as ``update`` does."""
        meta = document["metadata"]
        key = (document["kind"], meta["namespace"], meta["name"])
        return self.update(*key, lambda _: copy.deepcopy(document), dry_run=dry_run)

    def write_status(self, kind: str, namespace: str, name: str, status: Document) -> Document:
        """Keeps a status, whatever the resource's version is.

        Raises:
            NotFound: there is no such resource.
        """
        return self.update(kind, namespace, name, lambda found: {**found, "status": copy.deepcopy(status)}, status=True)

    patch_status = write_status

    def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        version: str | None = None,
        dry_run: bool = False,
    ) -> Document:
        """Takes a resource away and answers its last state.

        Raises:
            NotFound: there is none.
            Conflict: it has another uid or version than was asked for.
        """
        with self.database.read() if dry_run else self.database.write() as session:
            row = _row(session, kind, namespace, name)
            _check_precondition(row.document, {"uid": uid, "resourceVersion": version})
            document = copy.deepcopy(row.document)
            if dry_run:
                return document
            session.delete(row)
            _log(session, DELETED, (kind, namespace, name), document, document["metadata"].get("labels", {}))
        self._tell()
        return document

    def check_version(self, version: int) -> None:
        """Looks whether changes since a version can be told.

        Raises:
            Expired: the log does not reach back so far, or never was so far.
        """
        with self.database.read() as session:
            _check_known(session, version)

    def changes_since(
        self, version: int, *, kind: str | None = None, namespace: str | None = None
    ) -> tuple[Sequence[Change], int]:
        """Changes after a version, oldest first, and the version to go on from.

        Raises:
            Expired: the log does not reach back so far, or never was so far.
        """
        query = select(ChangeRow).where(ChangeRow.version > version).order_by(ChangeRow.version)
        if kind is not None:
            query = query.where(ChangeRow.kind == kind)
        if namespace is not None:
            query = query.where(ChangeRow.namespace == namespace)
        with self.database.read() as session:
            last = _check_known(session, version)
            changes = [
                Change(row.version, row.type, row.kind, row.namespace, row.name, row.document, row.labels_before)
                for row in session.scalars(query)
            ]
        return changes, last

    def wait(self, version: int, timeout_seconds: float) -> int:
        """Waits until there is a change after a version, made by this process; answers the version then."""
        with self._changed:
            self._changed.wait_for(lambda: self.version() > version, timeout_seconds)
        return self.version()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls a listener, from any thread, after each change made by this process; the answer ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        for listener in tuple(self._listeners):
            listener()


def timestamp(seconds: float) -> str:
    """Unix seconds as Kubernetes writes times: ``2026-01-31T02:00:00Z``."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(session: Session, kind: str, namespace: str, name: str) -> ResourceRow:
    row = session.get(ResourceRow, (kind, namespace, name))
    if row is None:
        raise NotFound(f"there is no {kind} {namespace}/{name}")
    return row


def _version(session: Session) -> int:
    return session.scalar(select(func.max(ChangeRow.version))) or 0


def _check_known(session: Session, version: int) -> int:
    """The last version, when the log reaches back to the given one."""
    last = _version(session)
    first = session.scalar(select(func.min(ChangeRow.version))) or 1
    if version < first - 1 or version > last:
        raise Expired(f"too old resource version: {version} ({first - 1} to {last} are known)")
    return last


def _named(key: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("kind", "namespace", "name"), key, strict=True))


def _log(
    session: Session, what: str, key: tuple[str, str, str], document: Document, before: dict[str, str] | None = None
) -> int:
    """Notes a change and puts its number into the document."""
    change = ChangeRow(type=what, **_named(key), labels_before=before, document={})
    session.add(change)
    session.flush()
    document["metadata"]["resourceVersion"] = str(change.version)
    change.document = document
    session.execute(delete(ChangeRow).where(ChangeRow.version <= change.version - CHANGES_KEPT))
    return change.version


def _check_precondition(present: Document, wanted: Document) -> None:
    for field in ("uid", "resourceVersion"):
        if wanted.get(field) and wanted[field] != present["metadata"][field]:
            raise Conflict(
                "the object has been modified; please apply your changes to the latest version and try again "
                f"({field} is {present['metadata'][field]}, not {wanted[field]})"
            )


def _merged(present: Document, wanted: Document, *, status: bool) -> Document:
    if status:
        document = {**present, "status": wanted.get("status") or {}}
        if not document["status"]:
            del document["status"]
        return document
    document = {key: value for key, value in wanted.items() if key != "status"}
    if "status" in present:
        document["status"] = present["status"]
    owned = {key: present["metadata"][key] for key in _OWNED if key in present["metadata"]}
    document["metadata"] = {**wanted["metadata"], **owned}
    if document.get("spec") != present.get("spec"):
        document["metadata"]["generation"] = present["metadata"].get("generation", 0) + 1
    return document
