# SPDX-License-Identifier: Apache-2.0
"""Takes examples in: many at once are checked side by side and made permanent together.

An example counts from its row on, and the row is committed after its picture has its name on the disk. So after a
crash at any moment there are rows with pictures, and perhaps a picture or a temporary file without a row, which
``housekeeping.heal`` removes: its node was never told that it is kept, and sends it again.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from helmet_cloud.errors import Busy, Forbidden, HubError, OutOfSpace
from helmet_cloud.examples.faults import as_hub_error
from helmet_cloud.examples.upload import Upload, parse_upload
from helmet_cloud.store.examples import PENDING, add_examples, count_examples, known_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from helmet_cloud.examples.pictures import PictureFolder
    from helmet_cloud.store.database import Database

_log = structlog.get_logger(__name__)

THREADS = 4
"""Uploads that are decoded and written side by side."""
BATCH = 64
"""Most examples in one commit: what a commit holds up is bounded."""
GATHER_SECONDS = 0.005
"""How long a commit waits for uploads that are being written just then, so that they share its waits for the disk."""
RESERVE_BYTES = 64 << 20
"""Space that pictures leave free, so that the database can still grow on a full disk."""
_RECOUNT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an upload.

    Attributes:
        new: whether it was not known before.
        state: of the example.
    """

    new: bool
    state: str


@dataclass(slots=True)
class _Staged:
    upload: Upload
    temporary: Path
    done: Future[Taken]


class Ingest:
    """Owns the threads that take examples in; ``close`` ends them.

    Args:
        database: gets the rows.
        pictures: gets the files.
        quota_bytes: most space of pictures that no data set uses.
        reserve_bytes: space that stays free on the disk.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        database: Database,
        pictures: PictureFolder,
        *,
        quota_bytes: int,
        reserve_bytes: int = RESERVE_BYTES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._pictures = pictures
        self._quota = _Quota(database, quota_bytes)
        self._reserve = reserve_bytes
        self._now = now
        self._pool = ThreadPoolExecutor(THREADS, "example")
        self._queue: queue.SimpleQueue[_Staged | None] = queue.SimpleQueue()
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._under_way = 0
        self._committer = threading.Thread(target=self._run, name="example-commit", daemon=True)
        self._committer.start()

    def submit(self, sha256: str, body: bytes, may_act_for: Callable[[str], bool]) -> Future[Taken]:
        """Takes an upload; the future is done when the example survives a power cut.

        Args:
            sha256: digest of the picture, as the path says.
            body: record and picture.
            may_act_for: whether whoever sends it may send for that node.

        The future fails with ``BadRequest``, ``Forbidden``, ``OutOfSpace``, ``Busy`` or ``HubError``; nothing is kept
        then.
        """
        done: Future[Taken] = Future()
        try:
            self._pool.submit(self._accept, sha256, body, may_act_for, done)
        except RuntimeError:
            done.set_exception(Busy("the hub is going down; try again"))
        return done

    def close(self) -> None:
        """Finishes what was taken in and ends the threads; idempotent."""
        self._pool.shutdown()
        if self._committer.is_alive():
            self._queue.put(None)
            self._committer.join()

    def counts(self) -> dict[str, int]:
        """Uploads by what became of them: ``new``, ``known``, ``bytes``, and refusals by their HTTP status."""
        with self._counting:
            return dict(self._counts)

    def count(self, name: str, amount: int = 1) -> None:
        """Counts something under a name of ``counts``."""
        with self._counting:
            self._counts[name] += amount

    def _accept(self, sha256: str, body: bytes, may_act_for: Callable[[str], bool], done: Future[Taken]) -> None:
        with self._counting:
            self._under_way += 1
        try:
            self._stage(sha256, body, may_act_for, done)
        finally:
            with self._counting:
                self._under_way -= 1

    def _stage(self, sha256: str, body: bytes, may_act_for: Callable[[str], bool], done: Future[Taken]) -> None:
        try:
            upload = parse_upload(sha256, body)
            if not may_act_for(upload.record.node):
                raise Forbidden(  # noqa: TRY301 - one way out
                    f"the token does not open the node {upload.record.node}: a node sends its own examples"
                )
            if (known := self._known(sha256)) is not None:
                done.set_result(known)
                return
            self._check_room(len(upload.jpeg))
            temporary = self._pictures.stage(sha256, upload.jpeg)
        except Exception as error:
            done.set_exception(self._refusal(error))
            return
        self._queue.put(_Staged(upload, temporary, done))

    def _known(self, sha256: str) -> Taken | None:
        if not self._pictures.path(sha256).exists():
            return None
        with self._database.read() as session:
            state = known_examples(session, [sha256]).get(sha256)
        if state is None:
            return None
        self.count("known")
        return Taken(new=False, state=state)

    def _check_room(self, size: int) -> None:
        if self._pictures.free_bytes() - size < self._reserve:
            raise OutOfSpace(
                f"the hub's disk has less than {self._reserve >> 20} MiB left; nothing was kept; free some space there"
            )
        if not self._quota.has_room(size):
            raise OutOfSpace(
                f"pictures that no data set uses fill their {self._quota.limit} bytes (max_examples_bytes); "
                "nothing was kept; label or delete some"
            )

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            deadline = time.monotonic() + GATHER_SECONDS
            with contextlib.suppress(queue.Empty):
                while len(batch) < BATCH:
                    wait = deadline - time.monotonic() if self._under_way else 0.0
                    more = self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait()
                    if more is None:
                        self._queue.put(None)  # after this batch
                        break
                    batch.append(more)
            self._commit(batch)

    def _commit(self, batch: Sequence[_Staged], *, again: bool = False) -> None:
        try:
            if again:
                self._stage_again(batch)
            states = self._keep(batch)
        except Exception as error:
            if len(batch) > 1:  # whose fault it was is found out one by one
                for one in batch:
                    self._commit([one], again=True)
                return
            refusal = self._refusal(error)
            for one in batch:
                self._pictures.discard(one.temporary)
                one.done.set_exception(refusal)
            return
        for one in batch:
            sha256 = one.upload.record.sha256
            state = states.pop(sha256, None)  # the first of several identical ones is the new one
            one.done.set_result(Taken(state is None, state or PENDING))
            if state is None:
                states[sha256] = PENDING
                self._quota.add(len(one.upload.jpeg))
                self.count("bytes", len(one.upload.jpeg))
            else:
                self._pictures.discard(one.temporary)
                states[sha256] = state
            self.count("known" if state else "new")

    def _keep(self, batch: Sequence[_Staged]) -> dict[str, str]:
        """Publishes and commits those that are not known; returns the states of those that are."""
        staged = {one.upload.record.sha256: one for one in reversed(batch)}
        published: dict[str, Path] = {}
        try:
            # Renamed within the transaction: its lock keeps housekeeping, in whichever process, from the same files.
            with self._database.write() as session:
                known = known_examples(session, staged)
                published = {
                    sha256: one.temporary
                    for sha256, one in staged.items()
                    if sha256 not in known or not self._pictures.path(sha256).exists()  # taken away by somebody
                }
                self._pictures.publish(published)
                fresh = [staged[sha256].upload for sha256 in published]
                add_examples(session, [(one.record, len(one.jpeg)) for one in fresh], self._now(), known)
        except BaseException:
            self._take_back(published)
            raise
        return known

    def _stage_again(self, batch: Sequence[_Staged]) -> None:
        for one in batch:
            if not one.temporary.exists():
                one.temporary = self._pictures.stage(one.upload.record.sha256, one.upload.jpeg)

    def _take_back(self, published: dict[str, Path]) -> None:
        """Removes pictures whose rows were not committed; what this cannot remove, ``housekeeping.heal`` does."""
        with contextlib.suppress(Exception), self._database.write() as session:
            known = known_examples(session, published)
            self._pictures.remove(sha256 for sha256 in published if sha256 not in known)

    def _refusal(self, error: Exception) -> HubError:
        refusal = as_hub_error(error)
        if not isinstance(error, HubError):
            _log.error("example not kept", reason=str(error), status=refusal.status)
        return refusal


class _Quota:
    """Bytes of pictures that no data set uses; counted now and then, added up between."""

    def __init__(self, database: Database, limit: int) -> None:
        self.limit = limit
        self._database = database
        self._lock = threading.Lock()
        self._bytes = 0
        self._counted = float("-inf")

    def has_room(self, size: int) -> bool:
        with self._lock:
            now = time.monotonic()
            # Labels and deletions make room, in other processes too: near the limit it is counted every second.
            age = now - self._counted
            if age > _RECOUNT_SECONDS or (self._bytes + size > self.limit and age > 1):
                with self._database.read() as session:
                    self._bytes = count_examples(session)[PENDING][1]
                self._counted = now
            return self._bytes + size <= self.limit

    def add(self, size: int) -> None:
        with self._lock:
            self._bytes += size
