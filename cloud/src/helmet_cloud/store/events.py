# SPDX-License-Identifier: Apache-2.0
"""What happened to a resource, for people: Kubernetes events, as ``kubectl describe`` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helmet_cloud.errors import NotFound
from helmet_cloud.resources.kinds import EVENT, SEDNA_KINDS
from helmet_cloud.store.resources import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_cloud.store.resource_rows import Document
    from helmet_cloud.store.resources import ResourceStore

EVENTS_KEPT = 50
"""Of each object; the oldest go."""

MAX_MESSAGE = 1024  # Kubernetes' own limit
COMPONENT = "helmet-hub"
_API_VERSIONS = {kind.name: kind.api_version for kind in SEDNA_KINDS}


class EventRecorder:
    """Keeps events of resources. The same event again is counted, not kept again.

    Args:
        store: where resources are kept; its clock dates the events.
    """

    def __init__(self, store: ResourceStore) -> None:
        self._store = store

    def record(self, kind: str, namespace: str, name: str, *, type: str, reason: str, message: str) -> None:  # noqa: A002 - Kubernetes' own name
        """Notes an event; an object that is gone gets none.

        Args:
            kind: of the resource it is about.
            namespace: as above.
            name: as above.
            type: ``Normal`` or ``Warning``.
            reason: one word in CamelCase.
            message: for people; the end is cut off beyond 1024 characters.
        """
        try:
            uid = self._store.get(kind, namespace, name)["metadata"]["uid"]
        except NotFound:
            return
        now = timestamp(self._store.now())
        message = message[:MAX_MESSAGE]
        about = f"{kind}/{name}"
        known = self._store.list(EVENT.name, namespace, about=about)
        for event in known:
            if (event["involvedObject"]["uid"], event["type"], event["reason"], event["message"]) == (
                uid,
                type,
                reason,
                message,
            ):
                self._again(event, now)
                return
        self._forget_oldest(known)
        self._store.create(
            {
                "apiVersion": EVENT.api_version,
                "kind": EVENT.name,
                "metadata": {"name": f"{name[:200]}.{self._store.new_uid()[:16]}", "namespace": namespace},
                "involvedObject": {
                    "apiVersion": _API_VERSIONS[kind],
                    "kind": kind,
                    "namespace": namespace,
                    "name": name,
                    "uid": uid,
                },
                "type": type,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "source": {"component": COMPONENT},
                "reportingComponent": COMPONENT,
                "reportingInstance": "",
            },
            about=about,
        )

    def _again(self, event: Document, now: str) -> None:
        def counted(found: Document) -> Document:
            return {**found, "count": found["count"] + 1, "lastTimestamp": now}

        meta: dict[str, Any] = event["metadata"]
        self._store.update(EVENT.name, meta["namespace"], meta["name"], counted)

    def _forget_oldest(self, known: Sequence[Document]) -> None:
        by_age = sorted(known, key=lambda event: (event["lastTimestamp"], int(event["metadata"]["resourceVersion"])))
        for event in by_age[: max(0, len(known) - EVENTS_KEPT + 1)]:
            self._store.delete(EVENT.name, event["metadata"]["namespace"], event["metadata"]["name"])
