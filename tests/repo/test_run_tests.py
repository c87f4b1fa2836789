# SPDX-License-Identifier: Apache-2.0
"""The table that `make test` ends with tells the truth, and CI leaves nothing out."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
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


def test_a_suite_that_passes_is_run_and_shows_its_summary(tmp_path: Path) -> None:
    outcome = run_tests.run(suite("print('=== 3 passed in 0.1s ===')"), logs=tmp_path)
    assert (outcome.state, outcome.detail) == ("run", "3 passed in 0.1s")


def test_a_suite_that_fails_has_failed(tmp_path: Path) -> None:
    assert run_tests.run(suite("raise SystemExit(3)"), logs=tmp_path).state == "FAILED"


def test_a_suite_whose_packages_are_missing_is_left_out_by_name(tmp_path: Path) -> None:
    outcome = run_tests.run(suite("raise SystemExit(3)", needs=("no-such-package-anywhere",)), logs=tmp_path)
    assert outcome.state == "left out"
    assert "no-such-package-anywhere" in outcome.detail


def test_a_suite_that_skipped_something_is_left_out_in_part(tmp_path: Path) -> None:
    outcome = run_tests.run(suite("print('SKIPPED [2] a.py:3: needs a camera')"), logs=tmp_path)
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


def test_the_lines_that_tell_why_a_suite_failed_are_kept_for_the_end(tmp_path: Path) -> None:
    code = "print('x' * 99); print('FAILED tests/a.py::test_b - E: no'); print('=== 1 failed ==='); raise SystemExit(1)"
    outcome = run_tests.run(suite(code), logs=tmp_path)
    assert outcome.decisive == ("FAILED tests/a.py::test_b - E: no",)
    assert "x" * 99 in (tmp_path / "example.log").read_text()


def test_lanes_run_side_by_side_and_suites_of_a_lane_one_after_the_other() -> None:
    together = threading.Barrier(2, timeout=10)
    seen: list[str] = []

    def act(each: object) -> object:
        if each.name in {"a1", "b1"}:
            together.wait()  # passes only when the other lane is at work too
        seen.append(each.name)
        return run_tests.Outcome(each.name, "run", "")

    suites = [run_tests.Suite(name, (), lane=name[0]) for name in ("a1", "a2", "b1", "b2")]
    outcomes = run_tests.run_lanes(suites, act)
    assert [outcome.suite for outcome in outcomes] == ["a1", "a2", "b1", "b2"]
    assert seen.index("a1") < seen.index("a2")
    assert seen.index("b1") < seen.index("b2")


def test_a_suite_whose_program_is_missing_fails_and_the_lane_goes_on() -> None:
    def act(each: object) -> object:
        if each.name == "a1":
            raise FileNotFoundError("molecule")
        return run_tests.Outcome(each.name, "run", "")

    outcomes = run_tests.run_lanes([run_tests.Suite(name, (), lane="a") for name in ("a1", "a2")], act)
    assert [outcome.state for outcome in outcomes] == ["FAILED", "run"]


def test_a_suite_that_promises_a_time_has_nothing_beside_it() -> None:
    at_work: set[str] = set()
    crowded: list[str] = []
    lock = threading.Lock()

    def act(each: object) -> object:
        with lock:
            at_work.add(each.name)
        time.sleep(0.1)
        with lock:
            if each.lane == run_tests.ALONE and at_work != {each.name}:
                crowded.append(each.name)
            at_work.discard(each.name)
        return run_tests.Outcome(each.name, "run", "")

    lanes = {"timed": run_tests.ALONE, "a1": "a", "a2": "a", "b1": "b"}
    outcomes = run_tests.run_all([run_tests.Suite(name, (), lane=lane) for name, lane in lanes.items()], act)
    assert crowded == []
    assert {outcome.suite for outcome in outcomes} == set(lanes)
