# SPDX-License-Identifier: Apache-2.0
"""File systems of a test's own, in a namespace of its own."""

from __future__ import annotations

import shutil
import subprocess

import pytest

NAMESPACE = ("unshare", "--mount", "--map-root-user")


def _work() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = (*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt")
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _work(), reason="needs mount namespaces (unshare --mount --map-root-user)")
