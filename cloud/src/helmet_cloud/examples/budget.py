# SPDX-License-Identifier: Apache-2.0
"""A bound on the memory of requests that are under way."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from helmet_cloud.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator


class ByteBudget:
    """Bytes that all requests together, and those of one sender, may hold. For one event loop, no threads.

    Args:
        total: of all.
        each: of one sender; a single request may be as large as this.
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """Bytes of requests that are under way."""
        return self._held.total()

    @contextlib.contextmanager
    def hold(self, sender: str, size: int) -> Iterator[None]:
        """Holds bytes for the block.

        Raises:
            Busy: too many are held already.
        """
        if self._held[sender] + size > self._each:
            raise Busy("this token has too many uploads under way; wait for their answers")
        if self.held + size > self._total:
            raise Busy("the hub has too many uploads under way; try again")
        self._held[sender] += size
        try:
            yield
        finally:
            self._held[sender] -= size
            if not self._held[sender]:
                del self._held[sender]
