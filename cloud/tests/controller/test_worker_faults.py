# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from helmet_cloud.errors import HubError
from helmet_cloud.testing import Exit, Idle, Report, figures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Rig

    from helmet_cloud.testing import Act


def only(kind: str, acts: Iterable[Act], rig: Rig) -> None:
    """Workers of one kind do this, the others what they should."""
    honest = rig.runner.script
    rig.runner.script = lambda spec: acts if spec.kind == kind else honest(spec)


GARBAGE: list[Any] = [
    (),
    ({"format": "tflite", "url": "/x"},),
    ({"format": "tflite", "url": "/x", "metrics": {"precision": "very good", "recall": [None], "labels": 7}},),
    ({"metrics": {"precision": [1e400], "objects": [-1], "predictions": "none"}},) * 2,
    ({"metrics": []}, {"metrics": 3}),
]


@pytest.mark.parametrize("results", GARBAGE)
def test_garbage_from_an_eval_worker_ends_the_round_with_a_reason_and_deploys_nothing(rig: Rig, results: Any) -> None:
    only("eval", (Report("completed", results), Exit(0)), rig)
    rig.add(range(20))
    rig.play(40)
    (row,) = rig.rounds
    assert row.status in {"refused", "failed"}
    assert row.reason
    assert rig.channel.out == []
    for condition in rig.job()["status"]["conditions"]:
        # What Python alone reads, such as Infinity, is no JSON.
        json.loads(condition.get("data", "{}"), parse_constant=pytest.fail)


@pytest.mark.parametrize("url", ["/etc", "../..", 7, None])
def test_what_a_train_worker_claims_to_have_written_is_not_believed(rig: Rig, url: Any) -> None:
    only("train", (Report("completed", ({"format": "pb", "url": url, "metrics": {}},)), Exit(0)), rig)
    rig.add(range(20))
    rig.play()
    (row,) = rig.rounds
    assert row.status == "failed"
    assert "left no complete model" in str(row.reason)


def test_a_worker_that_reports_twice_is_taken_at_its_last_word(rig: Rig) -> None:
    good = figures((0.8,) * 4, (0.7,) * 4)
    first, last = (
        ({"format": "t", "url": "/x", "metrics": figures((0.1,) * 4, (0.1,) * 4)},) * 2,
        (
            {"format": "t", "url": "/x", "metrics": good},
            {"format": "t", "url": "/y", "metrics": figures((0.6,) * 4, (0.5,) * 4)},
        ),
    )
    only("eval", (Report("completed", first), Report("completed", last), Exit(0)), rig)
    rig.add(range(20))
    rig.play()
    assert [row.status for row in rig.rounds] == ["accepted"]


def test_a_worker_that_hangs_is_ended_and_tried_again(rig: Rig) -> None:
    only("train", (Idle(),), rig)
    rig.add(range(20))
    rig.play(4)
    rig.clock.advance(rig.home.settings.train_timeout_seconds * 1.2)
    rig.tick(2, seconds=2.0)
    name, reason = rig.runner.stopped[0]
    assert reason == "timeout after 21600 s"
    assert name == rig.runner.started[0].name
    rig.tick(2)
    assert len(rig.runner.started) == 2


def test_a_worker_that_cannot_be_started_is_an_attempt(rig: Rig) -> None:
    rig.runner.refuses = HubError("no memory for another process")
    rig.add(range(20))
    rig.play(40)
    assert [row.status for row in rig.rounds] == ["failed"]
    assert len(rig.events("WorkerFailed")) == 3
    assert "no memory for another process" in rig.condition("RoundFailed")["message"]


def test_a_running_workers_progress_is_shown(rig: Rig) -> None:
    only("train", (Idle(), Report("running", (), {"epoch": 2, "of": 5, "loss\n": 0.25})), rig)
    rig.add(range(20))
    rig.play(6)
    assert "runs (attempt 1): epoch 2, of 5, loss? 0.25" in rig.message


def test_a_round_can_be_cancelled_by_its_number(rig: Rig) -> None:
    only("train", (Idle(),), rig)
    rig.add(range(20))
    rig.play(3)
    rig.annotate(cancel_round="2")
    rig.tick(seconds=2.0)
    assert rig.stages[-1] == "Train/Running"
    rig.annotate(cancel_round="1")
    rig.tick(seconds=2.0)
    assert rig.runner.stopped == [(rig.runner.started[0].name, "round 1 was cancelled")]
    assert [row.status for row in rig.rounds] == ["cancelled"]
    assert rig.condition("RoundFailed")["reason"] == "Cancelled"
    assert rig.pending() > 7
    rig.tick(3)
    assert len(rig.rounds) == 1


def test_a_job_that_is_deleted_ends_its_worker_and_one_of_its_name_begins_anew(rig: Rig) -> None:
    only("train", (Idle(),), rig)
    rig.add(range(20))
    rig.play(3)
    document = rig.job()
    rig.resources.delete("IncrementalLearningJob", "default", "helmet-detection-demo")
    rig.tick(seconds=1.0)
    assert rig.runner.stopped == [(rig.runner.started[0].name, "the job was deleted")]
    again = {key: document[key] for key in ("apiVersion", "kind", "spec")}
    rig.apply(again | {"metadata": {"name": "helmet-detection-demo"}})
    rig.play(3)
    assert [(row.number, row.status) for row in rig.rounds] == [(1, "cancelled"), (2, "running")]


def test_two_jobs_that_write_to_one_folder_do_not_overwrite_each_other(rig: Rig) -> None:
    document = rig.job()
    other = {key: document[key] for key in ("apiVersion", "kind", "spec")}
    rig.apply(other | {"metadata": {"name": "another"}})
    rig.add(range(20))
    rig.play()
    assert sorted(row.number for row in rig.rounds) == [1, 2]
    assert [row.status for row in rig.rounds] == ["accepted", "accepted"]


def test_a_job_that_cannot_be_read_holds_up_no_other(rig: Rig) -> None:
    document = rig.job()
    rig.resources.create(
        {"apiVersion": "sedna.io/v1alpha1", "kind": "IncrementalLearningJob", "spec": {"broken": True}}
        | {"metadata": {"name": "a-broken-one", "namespace": "default"}}
    )
    rig.add(range(20))
    rig.play()
    assert document["metadata"]["name"] > "a-broken-one"
    assert [row.status for row in rig.rounds] == ["accepted"]


def test_the_history_is_bounded_and_the_unique_conditions_stay_first(rig: Rig) -> None:
    for start in range(0, 120, 20):
        rig.add(range(start, start + 20))
        rig.play()
    conditions = rig.job()["status"]["conditions"]
    assert [one["type"] for one in conditions[:2]] == ["ModelDeployed", "RoundFailed"]
    assert len(conditions) == 2 + rig.home.settings.history_conditions
    assert {one["type"] for one in conditions[2:]}.isdisjoint({"ModelDeployed", "RoundFailed"})
    assert all({"type", "status", "stage", "lastHeartbeatTime", "lastTransitionTime"} <= set(one) for one in conditions)
