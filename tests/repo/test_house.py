# SPDX-License-Identifier: Apache-2.0
"""Promises that the repository makes about itself."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = {".py", ".yml", ".yaml", ".toml", ".md", ".sh", ".txt", ".j2", ".cfg", ".json", ""}


@cache
def tracked() -> tuple[Path, ...]:
    names = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return tuple(ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file())


def python_files(*folders: str) -> list[Path]:
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and any(path.is_relative_to(ROOT / folder) for folder in folders)
    ]


def test_every_python_file_names_its_licence() -> None:
    missing = [
        str(path.relative_to(ROOT))
        for path in python_files(".")
        # An Ansible module begins with its shebang.
        if "# SPDX-License-Identifier: Apache-2.0" not in path.read_text().splitlines()[:2]
    ]
    assert missing == []


def test_modules_stay_small() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in python_files("agent/src", "cloud/src")
        if (lines := len(path.read_text().splitlines())) > 350
    ]
    assert long == []


def test_task_files_stay_small() -> None:
    files = [path for path in tracked() if path.match("roles/*/tasks/*.yml")]
    assert files
    assert [str(path) for path in files if len(path.read_text().splitlines()) > 90] == []


def test_no_left_over_marks() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImplemented" + r"Error)\b")
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix in {".py", ".yml", ".md", ".sh"} and marks.search(path.read_text())
    ]
    assert found == []


def test_only_pictures_with_a_clear_licence_are_kept() -> None:
    pictures = [path for path in tracked() if path.suffix in {".jpg", ".jpeg", ".png", ".mp4", ".avi", ".webp"}]
    assert pictures
    for path in pictures:
        notice = [folder / "NOTICE.md" for folder in path.parents if folder.is_relative_to(ROOT)]
        assert any(
            (file.is_file() and path.name.rsplit(".", 1)[0] in file.read_text()) or _covers(file) for file in notice
        ), f"{path.relative_to(ROOT)} has no NOTICE.md that covers it"


def _covers(file: Path) -> bool:
    return file.is_file() and "CC BY 4.0" in file.read_text()


@pytest.mark.parametrize("name", ["agent", "controller", "dev"])
def test_locks_carry_hashes_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    pins = re.findall(r"^[a-zA-Z0-9][^\n]*==[^\n]*", text, re.MULTILINE)
    assert pins
    assert all(pin.endswith("\\") for pin in pins)
    assert not re.search(r"--(extra-)?index-url|--find-links|https?://", text)


def test_one_version_of_a_package_serves_everywhere() -> None:
    def versions(name: str) -> set[str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        return set(re.findall(r"^([a-zA-Z0-9._-]+==[^\s;]+)", text, re.MULTILINE))

    everything = versions("dev")
    assert versions("agent") <= everything
    assert versions("controller") <= everything


def test_both_halves_carry_the_same_version() -> None:
    agent = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cloud = tomllib.loads((ROOT / "cloud" / "pyproject.toml").read_text())["project"]
    assert agent["version"] == cloud["version"]
    assert f"helmet-agent=={agent['version']}" in cloud["dependencies"]


def test_vision_does_no_input_or_output() -> None:
    forbidden = {"imread", "imwrite", "VideoCapture", "VideoWriter", "open", "read_bytes", "write_bytes", "read_text"}
    found = []
    for path in python_files("agent/src/helmet_agent/vision"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in forbidden:
                    found.append(f"{path.name}:{node.lineno} calls {name}")
    assert found == []


def test_only_clip_and_camera_open_video() -> None:
    openers = {
        path.name for path in python_files("agent/src") if re.search(r"cv2\.VideoCapture\(", path.read_text())
    } - {"serial_float.py"}  # the frozen comparator of the benchmark has its own loop
    assert openers <= {"clip.py", "camera.py"}


def test_every_room_that_readme_promises_is_there() -> None:
    for name in ("site.yml", "ansible.cfg", "Makefile", "pyproject.toml", "playbooks", "roles", "agent", "inventory"):
        assert (ROOT / name).exists(), name


def test_tests_do_not_patch_what_they_test() -> None:
    patching = re.compile(r"monkeypatch\.set" + r"attr|mock\.pat" + r"ch|Magic" + r"Mock")
    found = [
        str(path.relative_to(ROOT))
        for path in python_files("agent/tests", "cloud/tests", "tests")
        if patching.search(path.read_text())
    ]
    assert found == []
