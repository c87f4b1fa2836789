# SPDX-License-Identifier: Apache-2.0
"""The whole agent on disks that are full or read-only: mounted for real in a namespace of the test's own."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLIP = Path(__file__).resolve().parents[2] / "src/helmet_agent/assets/clips/worker-zone-detection.mp4"
NAMESPACE = ("unshare", "--mount", "--map-root-user")


def namespaces_work() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = (*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt")
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not namespaces_work(), reason="needs mount namespaces (unshare --mount --map-root-user)"
)


def run_on(folder: Path, mount: str, after: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a batch over the clip with data_dir on what ``mount`` puts at ``folder``, then the commands of ``after``."""
    config = folder.parent / "agent.toml"
    config.write_text(
        f"[node]\nname = 'n'\ndata_dir = '{folder / 'data'}'\n[api]\nenabled = false\n"
        "[mining]\nduplicate_distance = 0\n"
        f"[[sources]]\nname = 'gate'\nurl = '{CLIP}'\n"
    )
    agent = shlex.join((sys.executable, "-m", "helmet_agent", "run", "--config", str(config), "--until-eof"))
    script = f"{mount}\n{agent}\ncode=$?\n{after}\nexit $code"
    return subprocess.run((*NAMESPACE, "sh", "-c", script), capture_output=True, text=True, timeout=110, check=False)


def test_a_disk_that_fills_costs_examples_that_are_counted_never_frames(tmp_path: Path) -> None:
    folder, saved = tmp_path / "disk", tmp_path / "saved"
    folder.mkdir()
    done = run_on(folder, f"mount -t tmpfs -o size=1m tmpfs {folder}", f"cp -r {folder}/data/spool {saved}")
    assert done.returncode == 1, done.stderr
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("gate"))
    assert row[1] == "122", "every frame was looked at"
    assert "could not be kept" in done.stderr
    assert "disk full" in done.stderr
    assert "Traceback" not in done.stderr
    for record in saved.glob("??/*.json"):
        document = json.loads(record.read_text())
        assert record.with_suffix(".jpg").is_file()
        assert document["sha256"] == record.stem


def test_a_disk_that_is_full_from_the_start_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=16k tmpfs {folder}; head -c 16k /dev/zero > {folder}/full 2>/dev/null"
    done = run_on(folder, mount)
    assert done.returncode == 1
    assert "disk full" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_read_only_disk_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = run_on(folder, f"mount -t tmpfs -o ro tmpfs {folder}")
    assert done.returncode == 1
    assert "read-only file system" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
