# SPDX-License-Identifier: Apache-2.0
"""The table of `make survive` tells the truth, and its tests are run by the suites of `make test`."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("survive", ROOT / "tools" / "survive.py")
assert SPEC is not None
assert SPEC.loader is not None
survive = importlib.util.module_from_spec(SPEC)
sys.modules["survive"] = survive
SPEC.loader.exec_module(survive)


def report(folder: Path, *cases: str) -> Path:
    path = folder / "report.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


def case(name: str, note: str = "", inside: str = "") -> str:
    properties = f"<properties><property name='survive' value='{note}'/></properties>" if note else ""
    return f"<testcase name='{name}' time='1.5'>{properties}{inside}</testcase>"


def everything(folder: Path, *more: str) -> Path:
    return report(folder, *(case(f"test_{n}", f"item {n}: {n} of {n}") for n in survive.ITEMS), *more)


def test_all_ten_with_their_figures_are_kept(tmp_path: Path) -> None:
    items = survive.read([everything(tmp_path)])
    assert survive.kept(items)
    lines = survive.table(items).splitlines()
    assert len(lines) == 10
    assert lines[8].split() == ["9", "strangers", "kept", "2", "s", "9", "of", "9"]


def test_a_promise_that_nobody_tested_is_not_kept(tmp_path: Path) -> None:
    items = survive.read([report(tmp_path, case("test_a", "item 3: x"))])
    assert not survive.kept(items)
    assert "untested" in survive.table(items)


def test_a_failure_names_its_test_with_or_without_a_figure(tmp_path: Path) -> None:
    for note in ("item 4: 60 s", ""):
        items = survive.read([everything(tmp_path, case("test_bad", note, "<failure message='no'/>"))])
        assert not survive.kept(items)
        assert "failed: test_bad" in survive.table(items)


def test_what_was_left_out_is_not_kept_and_says_why(tmp_path: Path) -> None:
    items = survive.read([everything(tmp_path, case("test_mount", "", "<skipped message='needs mounts'/>"))])
    assert not survive.kept(items)
    assert "left out: test_mount: needs mounts" in survive.table(items)


def test_the_page_has_a_line_for_each_promise() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    assert [int(number) for number in re.findall(r"^\| (\d+)\. ", page, re.MULTILINE)] == list(survive.ITEMS)


def test_every_such_test_is_in_a_suite_of_make_test_and_carries_the_marker() -> None:
    files = [path for tests in ("agent/tests", "cloud/tests") for path in (ROOT / tests).rglob("test_survive_*.py")]
    suites = [ROOT / place for place in ("agent/tests/unit", "agent/tests/integration", "cloud/tests")]
    for path in files:
        assert any(path.is_relative_to(place) for place in suites), path
        text = path.read_text()
        assert "pytest.mark.survive" in text, path
        if path.is_relative_to(suites[0]):
            assert "mark.slow" not in text, f"{path}: the unit suite leaves slow tests out"
