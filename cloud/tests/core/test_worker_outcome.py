# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.core.worker_outcome import Observation, Patience, judge_worker

RESULT = ({"format": "tflite", "url": "/output/train/1", "metrics": {"loss": 1.0}},)
PATIENCE = Patience(3600.0)
RUNNING = Observation(known=True, running=True, running_seconds=5.0)
DONE = replace(RUNNING, status="completed", results=RESULT, done_seconds=1.0)
GONE = Observation(known=True, running=False, exit_code=0, running_seconds=5.0, gone_seconds=1.0)

OBSERVATIONS = st.builds(
    Observation,
    known=st.booleans(),
    running=st.booleans(),
    exit_code=st.none() | st.integers(-15, 3),
    reason=st.none() | st.just("timeout after 3600 s"),
    status=st.sampled_from([None, "running", "completed", "failed", "done?"]),
    results=st.sampled_from([(), RESULT]),
    running_seconds=st.floats(0, 5000),
    gone_seconds=st.floats(0, 100),
    done_seconds=st.floats(0, 100),
)


def test_neither_the_exit_nor_the_report_alone_completes_a_stage() -> None:
    assert judge_worker(DONE, PATIENCE).verdict == "pending"
    assert judge_worker(GONE, PATIENCE).verdict == "pending"


def test_both_of_them_do_whichever_was_first() -> None:
    found = judge_worker(replace(GONE, status="completed", results=RESULT), PATIENCE)
    assert (found.verdict, found.results) == ("succeeded", RESULT)


def test_an_exit_without_a_report_is_a_failure_once_the_grace_is_over() -> None:
    found = judge_worker(replace(GONE, gone_seconds=30.0), PATIENCE)
    assert found.verdict == "failed"
    assert "sent no last report within 30 s" in found.reason


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (replace(GONE, exit_code=3), "exit code 3"),
        (replace(GONE, exit_code=-9), "signal 9"),
        (replace(GONE, exit_code=None), "unknown exit code"),
        (replace(GONE, exit_code=1, status="completed", results=RESULT), "after it had reported 'completed'"),
        (replace(GONE, exit_code=-15, reason="timeout after 3600 s"), "timeout after 3600 s"),
        (replace(GONE, status="failed"), "reported that it failed"),
        (replace(GONE, status="failed", exit_code=1), "and ended with exit code 1"),
        (replace(GONE, status="completed"), "names no results"),
        (replace(GONE, status="finished!", results=RESULT, gone_seconds=99.0), "no last report"),
    ],
)
def test_failures_say_what_happened(seen: Observation, reason: str) -> None:
    found = judge_worker(seen, PATIENCE)
    assert found.verdict == "failed"
    assert reason in found.reason


def test_a_worker_that_hangs_is_ended() -> None:
    found = judge_worker(replace(RUNNING, running_seconds=3961.0), PATIENCE)
    assert (found.verdict, found.reason) == ("stop", "timeout after 3600 s")


def test_a_worker_that_is_done_but_stays_is_ended_and_its_work_counts() -> None:
    found = judge_worker(replace(DONE, done_seconds=60.0), PATIENCE)
    assert found.verdict == "stop"
    ended = replace(GONE, exit_code=-15, reason=found.reason, status="completed", results=RESULT)
    assert judge_worker(ended, PATIENCE).verdict == "succeeded"


def test_a_restart_of_the_hub_loses_a_worker_unless_it_was_done() -> None:
    lost = Observation(known=False, running=False)
    assert judge_worker(lost, PATIENCE).verdict == "lost"
    assert judge_worker(replace(lost, status="running"), PATIENCE).verdict == "lost"
    assert judge_worker(replace(lost, status="completed", results=RESULT), PATIENCE).verdict == "succeeded"


@given(OBSERVATIONS)
def test_success_takes_a_report_a_result_and_an_end(seen: Observation) -> None:
    found = judge_worker(seen, PATIENCE)
    if found.verdict == "succeeded":
        assert not seen.running
        assert seen.status == "completed"
        assert found.results == RESULT
        assert seen.exit_code == 0 or not seen.known
    if found.verdict == "stop":
        assert seen.running
    assert bool(found.reason) == (found.verdict != "pending")


@given(OBSERVATIONS)
def test_waiting_has_an_end(seen: Observation) -> None:
    late = replace(seen, running=False, gone_seconds=1000.0)
    assert judge_worker(late, PATIENCE).verdict in {"succeeded", "failed", "lost"}
