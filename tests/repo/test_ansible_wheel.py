# SPDX-License-Identifier: Apache-2.0
"""The wheel that nodes get is the same bytes wherever it is built, and the wheelhouse holds what the lock names."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(source: Path, into: Path, *options: str, umask: int = 0o022) -> dict[str, Any]:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tools" / "build_wheel.py"),
            "--source",
            str(source),
            "--into",
            str(into),
            *options,
        ],
        capture_output=True,
        text=True,
        check=True,
        umask=umask,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as they are now, so that nobody edits them between two builds."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "agent" / "src", copy / "agent" / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    return copy


@pytest.mark.slow
def test_two_builds_are_the_same_bytes(checkout: Path, tmp_path: Path) -> None:
    first = build(checkout, tmp_path / "first")
    other = tmp_path / "elsewhere"
    shutil.copytree(checkout, other)
    for path in other.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (other / "build" / "lib" / "helmet_agent").mkdir(parents=True)
    (other / "build" / "lib" / "helmet_agent" / "left_over.py").write_text("")
    second = build(other, tmp_path / "second", umask=0o077)
    assert first["built"]
    assert second["built"]
    assert first["sha256"] == second["sha256"]
    names = zipfile.ZipFile(first["wheel"]).namelist()
    assert "helmet_agent/cli.py" in names
    assert "helmet_agent/assets/clips/NOTICE.md" in names
    assert not any("left_over" in name or "__pycache__" in name for name in names)


@pytest.mark.slow
def test_a_wheel_is_built_once_and_only_when_asked(checkout: Path, tmp_path: Path) -> None:
    planned = build(checkout, tmp_path, "--plan")
    assert planned["sha256"] is None
    assert not Path(planned["wheel"]).exists()
    built = build(checkout, tmp_path)
    assert built["wheel"] == planned["wheel"]
    again = build(checkout, tmp_path)
    assert again["built"] is False
    assert again["sha256"] == built["sha256"]
    assert build(checkout, tmp_path, "--plan")["sha256"] == built["sha256"]


def test_other_sources_are_another_wheel(checkout: Path, tmp_path: Path) -> None:
    before = build(checkout, tmp_path, "--plan")
    changed = tmp_path / "changed"
    shutil.copytree(checkout, changed)
    (changed / "agent" / "src" / "helmet_agent" / "one_more.py").write_text("")
    assert build(changed, tmp_path, "--plan")["wheel"] != before["wheel"]


def test_a_folder_that_is_no_checkout_is_told_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build_wheel.py"), "--source", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("the wheel cannot be built")
    assert len(done.stderr.splitlines()) == 1


LOCK = """\
# made by a solver
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via helmet-agent
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:dd
only-arm==1.0 ; platform_machine == 'aarch64' \\
    --hash=sha256:ee
"""


def test_the_wheelhouse_follows_the_nodes_python_and_architecture() -> None:
    wanted_there = tool("make_wheelhouse").wanted_there
    assert wanted_there(LOCK, "3.11", "x86_64") == ["numpy==2.4.6 --hash=sha256:aa --hash=sha256:bb"]
    assert wanted_there(LOCK, "3.13", "aarch64") == ["numpy==2.5.5 --hash=sha256:cc", "only-arm==1.0 --hash=sha256:ee"]


def test_the_lock_names_every_package_once_for_each_node() -> None:
    lines = tool("make_wheelhouse").wanted_there((ROOT / "requirements" / "agent.txt").read_text(), "3.11", "x86_64")
    names = [line.split("==")[0] for line in lines]
    assert len(names) == len(set(names))
    assert all("--hash=sha256:" in line for line in lines)
    assert "ai-edge-litert" in names


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_an_arm64_node_finds_a_wheel_for_every_locked_package(python: str) -> None:
    # Asks the index; where the wheelhouse was made already it only looks there.
    maker = [sys.executable, str(ROOT / "tools" / "make_wheelhouse.py"), "--architecture", "aarch64"]
    house = Path(
        subprocess.run([*maker, "--python", python], capture_output=True, text=True, check=True).stdout.strip()
    )
    lock = (ROOT / "requirements" / "agent.txt").read_text()
    wanted = {
        canonicalize_name(line.split("==")[0]) for line in tool("make_wheelhouse").wanted_there(lock, python, "aarch64")
    }
    wheels = [parse_wheel_filename(path.name) for path in house.glob("*.whl")]
    assert {name for name, _, _, _ in wheels} == wanted
    assert len(wheels) == len(wanted)
    platforms = {tag.platform for _, _, _, tags in wheels for tag in tags}
    assert all(platform == "any" or platform.endswith("_aarch64") for platform in platforms)
    assert any(platform.endswith("_aarch64") for platform in platforms)
