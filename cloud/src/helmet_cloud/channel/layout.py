# SPDX-License-Identifier: Apache-2.0
"""Names in the channel: which path a job's manifest and a file have, and nothing that could lead out of the folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from helmet_cloud.errors import BadRequest

if TYPE_CHECKING:
    from helmet_cloud.ports import JobRef

METADATA, TARGETS = "metadata", "targets"
TIMESTAMP_FILE = "timestamp.json"
NEXT_ROOT = "next-root.json"
"""Beside the channel's folder, not in it: nobody reads it but those who sign it."""
RINGS = ("canary", "stable")
"""Canaries take a model first; promotion publishes it to everybody."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")


def manifest_path(job: JobRef, ring: str) -> str:
    """The target path of a ring's manifest: ``jobs/<namespace>/<job>/<ring>.json``.

    Raises:
        BadRequest: a name that Kubernetes would not take either, or no ring.
    """
    for what, name in (("namespace", job.namespace), ("job name", job.name)):
        if not _NAME.match(name) or ".." in name:
            raise BadRequest(f"{what}: expected lower-case letters, digits, '-' and '.', found {name!r}")
    if ring not in RINGS:
        raise BadRequest(f"ring: expected {' or '.join(RINGS)}, found {ring!r}")
    return f"jobs/{job.namespace}/{job.name}/{ring}.json"


def file_path(sha256: str) -> str:
    """The target path of a file that a manifest refers to."""
    return f"files/{sha256}"
