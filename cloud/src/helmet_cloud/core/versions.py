# SPDX-License-Identifier: Apache-2.0
"""The name of a data-set version: a digest of what is in it, so that a version cannot change under its name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def version_digest(samples: Iterable[tuple[str, str]]) -> str:
    """sha256 in hexadecimal over the samples, in any order.

    Args:
        samples: (sha256 of the picture's bytes, its labels as written in a Sedna line).
    """
    digest = hashlib.sha256()
    for sha256, labels in sorted(samples):
        digest.update(f"{sha256} {labels}\n".encode())
    return digest.hexdigest()
