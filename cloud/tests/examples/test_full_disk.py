# SPDX-License-Identifier: Apache-2.0
"""Ingest on disks that are full for real: a small one in a namespace of the test's own, and a limit of file sizes."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = ("unshare", "--mount", "--map-root-user")
PROGRAM = """
import hashlib, json, pathlib, resource, sys
import numpy as np, cv2
from helmet_agent.contract import ExampleRecord
from helmet_cloud.errors import OutOfSpace
from helmet_cloud.examples.service import HubExamples
from helmet_cloud.settings import HubHome
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
from helmet_cloud.store.examples import list_examples

folder, reserve, limit = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
home = HubHome(folder)
database = Database(home.database)
Base.metadata.create_all(database.engine)
examples = HubExamples(home, database, reserve_bytes=reserve)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

def put(number, side=256):
    pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    sha256 = hashlib.sha256(jpeg).hexdigest()
    record = ExampleRecord(sha256, "n", "s", number, 1.0, side, side, "0" * 64, "IBT", 0.5, ())
    body = json.dumps(record.to_json()).encode() + b"\\n" + jpeg
    return sha256, examples.ingest.submit(sha256, body, lambda node: True)

def settle(pairs):
    kept, refused = [], []
    for sha256, future in pairs:
        error = future.exception(60)
        kept.append(sha256) if error is None else refused.append([error.__class__.__name__, str(error)])
    return kept, refused

kept, refused = settle([put(number) for number in range(20 if limit else 150)])
if limit:
    more, wrong = settle([put(1000, 3000), put(1001)])
    refused += wrong
    kept += more
elif not reserve:
    try:
        examples.housekeeping.delete(kept[0])
    except OutOfSpace as error:
        refused.append(["OutOfSpace", str(error)])
    else:
        kept = kept[1:]
else:
    for sha256 in kept[:10]:
        examples.housekeeping.delete(sha256)
    more, wrong = settle([put(2000 + number) for number in range(5)])
    kept = kept[10:] + more
    assert not wrong, wrong
with database.read() as session:
    rows = sorted(row.sha256 for row in list_examples(session, limit=1000))
whole = sorted(
    path.stem for path in home.pictures.rglob("*.jpg") if hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
)
print(json.dumps({"kept": sorted(kept), "rows": rows, "whole": whole, "refused": refused,
    "temporaries": len(list(home.pictures.rglob(".tmp-*")))}))
"""


def namespaces_work() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = (*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt")
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def run(folder: Path, *, mount: str = "", reserve: int = 0, limit: int = 0) -> dict[str, Any]:
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(folder), str(reserve), str(limit)]
    if mount:
        command = [*NAMESPACE, "sh", "-c", f"mount -t tmpfs {mount} tmpfs {folder} && {shlex.join(command)}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # the log comes before
    assert found["kept"] == found["rows"] == found["whole"], "acknowledged is kept, refused is not"
    assert found["temporaries"] == 0
    return found


@pytest.mark.skipif(not namespaces_work(), reason="needs mount namespaces (unshare --mount --map-root-user)")
@pytest.mark.parametrize("reserve", [0, 1 << 20])
def test_a_full_disk_refuses_new_examples_loses_none_and_with_a_reserve_takes_more_after_deletions(
    tmp_path: Path, reserve: int
) -> None:
    found = run(tmp_path / "disk", mount="-o size=5m", reserve=reserve)
    assert {kind for kind, _ in found["refused"]} == {"OutOfSpace"}
    words = "has less than 1 MiB left" if reserve else "disk is full|has less than 0 MiB left"
    assert all(any(word in said for word in words.split("|")) for _, said in found["refused"])
    assert 20 < len(found["kept"]) < 150


def test_a_limit_of_file_sizes_is_a_full_disk_too(tmp_path: Path) -> None:
    found = run(tmp_path / "disk", limit=6_000_000)
    assert {kind for kind, _ in found["refused"]} == {"OutOfSpace"}
    assert ["disk is full" in said for _, said in found["refused"]] == [True]
    assert len(found["kept"]) == 21
