# SPDX-License-Identifier: Apache-2.0
"""The bodies of uploads: read within bounds of size, memory and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from helmet_cloud.errors import BadRequest, HubError, LengthRequired, TooLarge, TooSlow
from helmet_cloud.examples.budget import ByteBudget
from helmet_cloud.examples.upload import MAX_RECORD_BYTES, MEDIA_TYPE

if TYPE_CHECKING:
    from starlette.requests import Request

    from helmet_cloud.api.auth import Identity
    from helmet_cloud.examples.ingest import Ingest

SLOWEST_BYTES_PER_SECOND = 4096
"""Average below which an upload is ended, once it has had the time that it may stand still."""
UNDER_WAY_BYTES = 32 << 20
"""Most memory that uploads under way hold."""


class ExampleUploads:
    """Reads the bodies of uploads within bounds of size, memory and time, and hands them to the ingest.

    Args:
        ingest: takes them.
        max_example_bytes: largest picture.
        idle_seconds: how long an upload may stand still.
    """

    def __init__(self, ingest: Ingest, max_example_bytes: int, idle_seconds: float) -> None:
        self._ingest = ingest
        self._most = max_example_bytes + MAX_RECORD_BYTES + 1
        self._max_example_bytes = max_example_bytes
        self._idle_seconds = idle_seconds
        self._budget = ByteBudget(max(UNDER_WAY_BYTES, self._most), max(UNDER_WAY_BYTES // 4, self._most))

    def metrics(self) -> dict[str, float]:
        """Figures of uploads since the start, by the name they have in ``/metrics``."""
        counts = self._ingest.counts()
        found = {
            "helmet_hub_examples_new_total": counts.pop("new", 0),
            "helmet_hub_examples_known_total": counts.pop("known", 0),
            "helmet_hub_examples_received_bytes_total": counts.pop("bytes", 0),
            "helmet_hub_uploads_under_way_bytes": self._budget.held,
        }
        refused = {f'helmet_hub_examples_refused_total{{status="{status}"}}': n for status, n in counts.items()}
        return {**found, **refused}

    async def put(self, sha256: str, request: Request, identity: Identity) -> JSONResponse:
        """Takes one upload.

        Raises:
            HubError: it is refused, with the status that says why.
        """
        try:
            size = self._size(request)
            with self._budget.hold(identity.name, size):
                body = await self._read(request, size)
                done = self._ingest.submit(sha256, body, identity.may_act_for)
                taken = await asyncio.wrap_future(done)
        except HubError as error:
            self._ingest.count(str(error.status))
            raise
        return JSONResponse({"sha256": sha256, "state": taken.state}, 201 if taken.new else 200)

    def _size(self, request: Request) -> int:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != MEDIA_TYPE:
            raise BadRequest(f"expected Content-Type: {MEDIA_TYPE}, found {kind[:80]!r}")
        said = request.headers.get("content-length", "")
        if not (said.isascii() and said.isdigit()):
            raise LengthRequired("the header Content-Length is missing: say how long the upload is")
        if len(said) > len(str(self._most)) or int(said) > self._most:
            raise TooLarge(f"an upload of {said[:20]} bytes; pictures of at most {self._max_example_bytes} are taken")
        return int(said)

    async def _read(self, request: Request, size: int) -> bytes:
        chunks: list[bytes] = []
        left = size
        stream = request.stream()
        try:
            async with asyncio.timeout(self._idle_seconds + size / SLOWEST_BYTES_PER_SECOND):
                while left > 0:
                    async with asyncio.timeout(self._idle_seconds):
                        chunk = await anext(stream, b"")
                    if not chunk:
                        break
                    chunks.append(chunk)
                    left -= len(chunk)
        except ClientDisconnect:
            raise BadRequest(f"the sender went away after {size - left} of {size} bytes") from None
        except TimeoutError:
            raise TooSlow(f"{size - left} of {size} bytes came in time; send it again over a better line") from None
        if left:
            raise BadRequest(f"{size - left} bytes came, Content-Length says {size}")
        return b"".join(chunks)
