# SPDX-License-Identifier: Apache-2.0
"""No room, no inode, read-only: at every single write of what the node keeps."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .mounts import NAMESPACE, needs_mounts

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(__file__).with_name("every_write.py")


@pytest.mark.survive
@needs_mounts
def test_a_refused_write_spoils_nothing_and_works_as_soon_as_the_disk_does(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=16m,nr_inodes=400 tmpfs {folder}"
    program = shlex.join((sys.executable, str(PROGRAM), str(folder)))
    words = (*NAMESPACE, "sh", "-c", f"{mount} && {program}")
    done = subprocess.run(words, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    kinds = {kind: sum(each.get(kind, 0) for each in counts.values()) for kind in ("blocks", "files", "read-only")}
    assert set(counts) == {"durable_files", "spool", "index", "events", "journal", "pointers", "install"}
    assert kinds["blocks"] > 20
    assert kinds["files"] > 5
    assert kinds["read-only"] == 1
    figures = f"{kinds['blocks']} writes without room, {kinds['files']} without inodes, {kinds['read-only']} read-only"
    record_property("survive", f"item 8: {figures}: nothing spoilt, all worked afterwards")
