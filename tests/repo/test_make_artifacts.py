# SPDX-License-Identifier: Apache-2.0
"""What machines without a way out are installed from is complete, named with its sum, and made once."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def make(into: Path) -> dict[str, Any]:
    """Only this machine's kind; its wheelhouses are at hand already, so that no index is asked."""
    command = [sys.executable, str(ROOT / "tools" / "make_artifacts.py"), "--into", str(into), "--python", "3.11"]
    command += ["--architecture", platform.machine()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.slow
def test_every_artifact_has_its_sum_and_the_variables_name_what_is_there(tmp_path: Path) -> None:
    for prefix, lock in (("", "agent.txt"), ("hub-", "hub-serve.txt")):
        house = tmp_path / "wheelhouse" / f"{prefix}3.11-{platform.machine()}"
        house.mkdir(parents=True)
        (house / "some-1.0-py3-none-any.whl").write_bytes(b"a wheel")
        digest = hashlib.sha256((ROOT / "requirements" / lock).read_bytes()).hexdigest()
        (house / "lock.sha256").write_text(f"{digest}\n")
    assert make(tmp_path)["changed"]
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=tmp_path, check=True)
    listed = {line.split("  ", 1)[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()}
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert listed == there - {"SHA256SUMS"}
    values = yaml.safe_load((tmp_path / "vars.yml").read_text())
    facts = {
        "{{ artifacts_root }}": str(tmp_path),
        "{{ artifacts_kind }}": f"3.11-{platform.machine()}",
    }
    for name, value in values.items():
        if name.startswith("artifacts_"):
            continue
        for fact, text in facts.items():
            value = value.replace(fact, text)  # noqa: PLW2901 - what Ansible would do
        assert Path(value).exists(), name
    assert not make(tmp_path)["changed"]
    (tmp_path / "models" / "bundled" / "model.tflite").write_bytes(b"damaged")
    (tmp_path / "clips" / "foreign.mp4").write_bytes(b"foreign")
    make(tmp_path)
    subprocess.run(check, cwd=tmp_path, check=True)
    assert not (tmp_path / "clips" / "foreign.mp4").exists()
