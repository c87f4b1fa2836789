# SPDX-License-Identifier: Apache-2.0
"""What must stay away from every round: the regression set's pictures, and what shows the same moments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helmet_agent.errors import SourceMissing
from helmet_cloud.core.split import Origin, group_of
from helmet_cloud.store.examples import example_origins
from helmet_cloud.training.dataset import difference_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from helmet_cloud.controller.parts import Parts
    from helmet_cloud.datasets import Sample

GUARDED = "guarded"
"""The side of such samples in the ledger; decided once, like the others."""

SAME_MOMENT_BITS = 6
"""Of 256: re-encoded copies and frames a second away lie within; somebody else before the same camera hardly ever."""


@dataclass(frozen=True)
class Guarded:
    """The regression set, as far as samples are compared with it.

    Attributes:
        digests: of its pictures.
        groups: what was filmed by one source within ten seconds, of those pictures that are examples of this hub.
        hashes: difference hashes of its pictures, uint64 ``[N, 4]``.
    """

    digests: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty((0, 4), np.uint64))

    def shows(self, sample: Sample, group: str) -> bool:
        """Whether a sample shows what a picture of the regression set shows.

        Args:
            sample: its picture is decoded.
            group: that it belongs to.
        """
        if sample.sha256 in self.digests or group in self.groups:
            return True
        if not len(self.hashes):
            return False
        try:
            words = difference_hash(sample.path).view(np.uint64)
        except SourceMissing:  # gone meanwhile: it trains nowhere, and is looked at again when it is back
            return False
        return int(np.bitwise_count(self.hashes ^ words).sum(axis=1).min()) <= SAME_MOMENT_BITS


class GuardedPictures:
    """Reads the regression set when its file changed. For one thread."""

    def __init__(self) -> None:
        self._samples: tuple[Sample, ...] | None = None
        self._found = Guarded()

    def read(self, parts: Parts) -> Guarded:
        """The regression set of the hub; nothing where there is none."""
        samples = _samples(parts)
        if samples != self._samples:
            with parts.database.read() as session:
                origins = example_origins(session, [one.sha256 for one in samples])
            groups = (group_of("", Origin(one.node, one.source, one.time_seconds)) for one in origins.values())
            self._found = Guarded(frozenset(one.sha256 for one in samples), frozenset(groups), _hashes(samples))
            self._samples = samples
        return self._found


def _samples(parts: Parts) -> tuple[Sample, ...]:
    file = parts.regression()
    if file is None:
        return ()
    found = parts.reader.read(Path(file))
    while found.waiting:  # none of it may slip through
        found = parts.reader.read(Path(file))
    return found.samples


def _hashes(samples: Iterable[Sample]) -> NDArray[np.uint64]:
    found = [difference_hash(one.path).view(np.uint64) for one in samples]
    return np.stack(found) if found else Guarded().hashes
