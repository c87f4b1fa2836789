# SPDX-License-Identifier: Apache-2.0
"""Watches: a line of JSON for every change, until the client leaves or its time is over."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi.concurrency import run_in_threadpool

from helmet_cloud.api.kube.failure import Refused, status_of
from helmet_cloud.errors import Busy, HubError
from helmet_cloud.store.resources import ADDED, DELETED, MODIFIED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from helmet_cloud.api.kube.verbs import Selection, Verbs
    from helmet_cloud.store.resources import Change

Document = dict[str, Any]

MAX_WATCHES = 200
MAX_SECONDS = 3600.0
DEFAULT_SECONDS = 1800.0
LOOK_SECONDS = 1.0
"""How often a watch looks for changes that another process made."""
BOOKMARK_SECONDS = 60.0
_INITIAL_END = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a watch is meant.

    Attributes:
        version: after which changes are told; None: first everything that is there, then its changes.
        seconds: how long it lasts.
        bookmarks: whether the client takes bookmarks, which say how far the watch is.
        mark_initial: whether a bookmark follows what was there at first.
    """

    version: int | None
    seconds: float
    bookmarks: bool
    mark_initial: bool


class Watching:
    """Serves watches, at most ``MAX_WATCHES`` at a time.

    Args:
        verbs: what lists and selects resources.
    """

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._store = verbs.store
        self._open = 0

    async def lines(
        self, selection: Selection, options: WatchOptions, shown: Callable[[Document], Document]
    ) -> AsyncIterator[bytes]:
        """The watch; what is refused at once is raised here, what fails later is told in the stream.

        Raises:
            Expired: the log of changes does not reach back to that version.
            Busy: there are too many watches.
        """
        if self._open >= MAX_WATCHES:
            raise Busy(f"more than {MAX_WATCHES} watches; try again later")
        initial: list[Document] = []
        if options.version is None:
            initial, version = await run_in_threadpool(self._verbs.list, selection)
            return self._stream(selection, options, shown, initial, version)
        await run_in_threadpool(self._store.check_version, options.version)
        return self._stream(selection, options, shown, initial, options.version)

    async def _stream(
        self,
        selection: Selection,
        options: WatchOptions,
        shown: Callable[[Document], Document],
        initial: list[Document],
        version: int,
    ) -> AsyncIterator[bytes]:
        kind = selection.address.kind
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended; so has the watch
                loop.call_soon_threadsafe(changed.set)

        end = loop.time() + options.seconds
        next_bookmark = loop.time() + BOOKMARK_SECONDS
        unsubscribe = self._store.subscribe(tell)
        self._open += 1
        try:
            for each in initial:
                yield _line(ADDED, shown(each))
            if options.mark_initial:
                yield _bookmark(kind.api_version, kind.name, version, _INITIAL_END)
            while (left := end - loop.time()) > 0:
                changed.clear()
                changes, version = await run_in_threadpool(
                    self._store.changes_since, version, kind=kind.name, namespace=selection.address.namespace
                )
                for change in changes:
                    what = _told(selection, change)
                    if what is not None:
                        yield _line(what, shown(change.document))
                if options.bookmarks and loop.time() >= next_bookmark:
                    next_bookmark = loop.time() + BOOKMARK_SECONDS
                    yield _bookmark(kind.api_version, kind.name, version)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), min(LOOK_SECONDS, left))
        except HubError as error:
            yield _line("ERROR", status_of(error))
        finally:
            self._open -= 1
            unsubscribe()


def read_watch_options(query: Callable[[str], str]) -> WatchOptions:
    """Reads the query of a watch.

    Raises:
        Refused: 400, a parameter that cannot be right.
    """
    version, timeout = query("resourceVersion"), query("timeoutSeconds")
    for name, text in (("resourceVersion", version), ("timeoutSeconds", timeout)):
        if text and not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004 - fits 64 bits
            raise Refused(400, f"{name}: expected a whole number, found {text[:40]!r}")
    initial = query("sendInitialEvents") in ("true", "1")
    bookmarks = query("allowWatchBookmarks") in ("true", "1")
    return WatchOptions(
        version=None if initial or version in ("", "0") else int(version),
        seconds=min(MAX_SECONDS, float(timeout or 0) or DEFAULT_SECONDS),
        bookmarks=bookmarks,
        mark_initial=initial and bookmarks,
    )


def _told(selection: Selection, change: Change) -> str | None:
    """What a client is told: a resource may enter or leave its selection by its labels."""
    after = change.type != DELETED and selection.takes(change.document)
    before = change.type != ADDED and selection.takes(change.document, change.labels_before or {})
    if after:
        return MODIFIED if before else ADDED
    return DELETED if before else None


def _line(what: str, document: Document) -> bytes:
    return json.dumps({"type": what, "object": document}).encode() + b"\n"


def _bookmark(api_version: str, kind: str, version: int, annotations: dict[str, str] | None = None) -> bytes:
    meta: Document = {"resourceVersion": str(version), "creationTimestamp": None}
    meta |= {"annotations": annotations} if annotations else {}
    return _line("BOOKMARK", {"apiVersion": api_version, "kind": kind, "metadata": meta})
