# SPDX-License-Identifier: Apache-2.0
"""The table that `make test` ends with tells the truth, and CI leaves nothing out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("run_tests", ROOT / "tools" / "run_tests.py")
assert SPEC is not None
assert SPEC.loader is not None
run_tests = importlib.util.module_from_spec(SPEC)
sys.modules["run_tests"] = run_tests
SPEC.loader.exec_module(run_tests)


def suite(code: str, **more: object) -> object:
    return run_tests.Suite("example", (sys.executable, "-c", code), **more)


def test_a_suite_that_passes_is_run_and_shows_its_summary() -> None:
    outcome = run_tests.run(suite("print('=== 3 passed in 0.1s ===')"))
    assert (outcome.state, outcome.detail) == ("run", "3 passed in 0.1s")


def test_a_suite_that_fails_has_failed() -> None:
    assert run_tests.run(suite("raise SystemExit(3)")).state == "FAILED"


def test_a_suite_whose_packages_are_missing_is_left_out_by_name() -> None:
    outcome = run_tests.run(suite("raise SystemExit(3)", needs=("no-such-package-anywhere",)))
    assert outcome.state == "left out"
    assert "no-such-package-anywhere" in outcome.detail


def test_a_suite_that_skipped_something_is_left_out_in_part() -> None:
    outcome = run_tests.run(suite("print('SKIPPED [2] a.py:3: needs a camera')"))
    assert outcome.state == "left out"
    assert "needs a camera" in outcome.detail


def test_what_was_left_out_fails_in_ci_and_only_there() -> None:
    outcomes = [run_tests.Outcome("a", "run", ""), run_tests.Outcome("b", "left out", "why")]
    assert run_tests.verdict(outcomes, in_ci=False)[:2] == (1, 0)
    assert run_tests.verdict(outcomes, in_ci=True)[:2] == (1, 1)
    assert "why" in run_tests.table(outcomes)


def test_every_host_suite_names_what_it_needs_among_the_packages_that_ci_installs() -> None:
    listed = {line.split("#")[0].strip() for line in (ROOT / "tests" / "apt-packages.txt").read_text().splitlines()}
    for each in run_tests.SUITES:
        assert set(each.needs) <= listed, each.name
