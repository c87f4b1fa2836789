# SPDX-License-Identifier: Apache-2.0
"""What Sedna v0.7.0 gets wrong in its controller, one test a defect: ours must not have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from helmet_cloud.controller.crash_points import WORKER_STARTED
from helmet_cloud.errors import HubError
from helmet_cloud.testing import Exit, Idle, Report, figures, well_behaved, write_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Rig

    from helmet_cloud.ports import WorkerSpec
    from helmet_cloud.testing import Act

OLD = figures((0.6,) * 4, (0.5,) * 4)
BETTER = figures((0.8,) * 4, (0.7,) * 4)


def crashing(_spec: WorkerSpec) -> Iterable[Act]:
    return (Idle(), Exit(1))


def judged(rig: Rig, new: dict[str, Any], old: dict[str, Any] = OLD) -> None:
    rig.runner.script = well_behaved(lambda _: new, lambda _: old)


def test_the_seeds_own_deploy_trigger_fires(rig: Rig) -> None:
    trigger = rig.job()["spec"]["deploySpec"]["trigger"]["condition"]
    assert trigger == {"operator": ">", "threshold": 0.1, "metric": "precision_delta"}
    rig.add(range(20))
    rig.play()
    assert rig.condition("ModelDeployed")["status"] == "True"


def test_a_restart_loses_neither_rounds_nor_counts(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    rig.add(range(20, 25))
    rig.tick()
    before = (rig.samples(), [row.number for row in rig.rounds], rig.message)
    rig.restart()
    rig.tick()
    assert (rig.samples(), [row.number for row in rig.rounds], rig.message) == before
    assert rig.message.endswith(" of 7 samples")
    assert rig.message != "20 of 7 samples"


class Killed(BaseException):
    """Stands for a SIGKILL where a process of its own would be too slow; test_survive_controller.py is real."""


def test_a_hub_that_is_killed_again_and_again_under_a_worker_spends_no_attempts(rig: Rig) -> None:
    def die(point: str) -> None:
        if point == WORKER_STARTED and rig.runner.started:
            raise Killed

    rig.add(range(20))
    rig.reached = die
    for _ in range(rig.home.settings.round_attempts + 2):
        with pytest.raises(Killed):
            rig.tick()
        rig.restart()
    rig.reached = lambda _point: None
    rig.play()
    assert [row.status for row in rig.rounds] == ["accepted"]
    assert rig.events("WorkerFailed") == []
    assert len(rig.events("WorkerLost")) == rig.home.settings.round_attempts + 2


def test_an_exit_before_the_last_report_is_waited_for(rig: Rig) -> None:
    honest = rig.runner.script

    def late(spec: WorkerSpec) -> Iterable[Act]:
        report = next(act for act in honest(spec) if isinstance(act, Report))
        return (Idle(), Exit(0), Idle(), Idle(), report)

    rig.runner.script = late
    rig.add(range(20))
    rig.play(24)
    assert [row.status for row in rig.rounds] == ["accepted"]


def test_a_report_before_the_exit_does_not_start_the_evaluation(rig: Rig) -> None:
    honest = rig.runner.script
    rig.runner.script = lambda spec: [act for act in honest(spec) if not isinstance(act, Exit)]
    rig.add(range(20))
    rig.play(10)
    assert [spec.kind for spec in rig.runner.started] == ["train"]
    assert rig.stages[-1] == "Train/Running"


def test_an_exit_without_any_report_fails_after_the_grace_and_says_so(rig: Rig) -> None:
    rig.runner.script = lambda _spec: (Exit(0),)
    rig.add(range(20))
    rig.play(50)
    assert any("sent no last report within 30 s" in line for line in rig.events("WorkerFailed"))


def test_a_failed_training_keeps_its_samples_and_is_tried_so_often_and_no_oftener(rig: Rig) -> None:
    rig.runner.script = crashing
    rig.add(range(20))
    rig.play(40)
    rig.tick(5)
    assert len(rig.runner.started) == rig.home.settings.round_attempts
    assert len({spec.name for spec in rig.runner.started}) == 3
    assert len({spec.folder for spec in rig.runner.started}) == 1
    failed = rig.condition("RoundFailed")
    assert (failed["status"], failed["reason"]) == ("True", "RoundFailed")
    assert "exit code 1 (3 attempts, the last)" in failed["message"]
    assert rig.pending() == len([1 for side, *_ in rig.samples().values() if side == "train"])
    assert [row.status for row in rig.rounds] == ["failed"]


def test_samples_of_a_failed_round_train_again_when_new_ones_come(rig: Rig) -> None:
    honest = rig.runner.script
    rig.runner.script = crashing
    rig.add(range(20))
    rig.play(40)
    rig.runner.script = honest
    rig.add(range(20, 40))
    rig.play()
    assert [row.status for row in rig.rounds] == ["failed", "accepted"]
    assert rig.pending() == 0
    assert {used for side, _, used in rig.samples().values() if side == "train"} == {2}


def test_somebody_may_ask_for_another_try(rig: Rig) -> None:
    honest = rig.runner.script
    rig.runner.script = crashing
    rig.add(range(20))
    rig.play(40)
    rig.runner.script = honest
    rig.tick(3)
    assert [row.status for row in rig.rounds] == ["failed"]
    rig.annotate(retry="2026-01-02")
    rig.play()
    rig.tick(3)
    assert [row.status for row in rig.rounds] == ["failed", "accepted"]


def test_a_changed_spec_is_another_try(rig: Rig) -> None:
    judged(rig, figures((0.65,) * 4, (0.6,) * 4))
    rig.add(range(20))
    rig.play()
    rig.tick(3)
    assert [row.status for row in rig.rounds] == ["refused"]
    rig.change(lambda document: document["spec"]["deploySpec"]["trigger"]["condition"].update(threshold=0.01))
    rig.play()
    assert [row.status for row in rig.rounds] == ["refused", "accepted"]


def test_a_refused_model_changes_nothing_and_its_samples_stay_pending(rig: Rig) -> None:
    judged(rig, figures((0.65,) * 4, (0.6,) * 4))
    rig.add(range(20))
    rig.play()
    rig.tick(5)
    assert [row.status for row in rig.rounds] == ["refused"]
    assert rig.channel.out == []
    assert rig.pending() > 7
    failed = rig.condition("RoundFailed")
    assert (failed["status"], failed["reason"]) == ("True", "Refused")
    assert "precision_delta +0.050 (0.600 -> 0.650), wanted precision_delta > 0.1" in failed["message"]
    assert rig.condition("ModelDeployed")["status"] == "False"
    assert rig.message == "0 of 7 samples"


def test_the_round_after_a_refusal_starts_from_the_accepted_model(rig: Rig) -> None:
    judged(rig, figures((0.65,) * 4, (0.6,) * 4))
    rig.add(range(20))
    rig.play()
    judged(rig, BETTER)
    rig.add(range(20, 40))
    rig.play()
    refused, accepted = rig.rounds
    assert (refused.status, accepted.status) == ("refused", "accepted")
    assert accepted.base_sha256 == refused.base_sha256
    assert accepted.base_folder == str(rig.home.mapped("/models/base_model"))


def test_a_model_that_detects_nothing_is_refused(rig: Rig) -> None:
    judged(rig, figures((1.0,) * 4, (0.0,) * 4, predictions=[0] * 4))
    rig.add(range(20))
    rig.play()
    assert [row.status for row in rig.rounds] == ["refused"]
    assert "detects nothing" in rig.events("Refused")[0]


def test_one_new_sample_a_poll_still_trains(rig: Rig) -> None:
    # In Sedna int(0.8 * 1) = 0 of each go to training.
    for number in range(60):
        rig.add([number])
        rig.tick()
    sides = [side for side, *_ in rig.samples().values()]
    assert len(sides) == 60
    assert 0.65 < sides.count("train") / len(sides) < 0.95
    assert rig.rounds


def test_no_sample_is_evaluated_twice_however_many_rounds_there_are(rig: Rig) -> None:
    # In Sedna 10 x 100 samples make 1100 rows.
    for start in (0, 20, 40):
        rig.add(range(start, start + 20))
        rig.play()
    assert [row.status for row in rig.rounds] == ["accepted"] * 3
    for number in (1, 2, 3):
        lines = rig.home.mapped(f"/output/data/eval/{number}/data.txt").read_text().splitlines()
        assert len(lines) == len(set(lines))
    evaluated = [side for side, *_ in rig.samples().values()].count("eval")
    assert len(lines) == evaluated


def test_what_once_evaluated_never_trains_though_the_share_changes(rig: Rig) -> None:
    rig.add(range(20))
    rig.tick()
    before = rig.samples()
    rig.change(lambda document: document["spec"]["dataset"].update(trainProb=0.99))
    rig.tick(2)
    assert {one: side for one, (side, *_) in rig.samples().items()} == {one: side for one, (side, *_) in before.items()}


def test_a_check_period_is_kept(rig: Rig) -> None:
    rig.add(range(3))
    rig.tick()
    rig.add(range(3, 6))
    rig.tick(seconds=50.0)
    assert len(rig.samples()) == 3
    rig.tick(seconds=11.0)
    assert len(rig.samples()) == 6


def test_a_full_disk_in_the_channel_loses_no_model(rig: Rig) -> None:
    rig.channel.fails_with = HubError("the disk is full")
    rig.add(range(20))
    rig.play()
    rig.tick(5)
    assert rig.stages[-1] == "Deploy/Ready"
    assert "the disk is full (tried again every 60 s)" in rig.message
    rig.channel.fails_with = None
    rig.tick(2)
    assert [row.status for row in rig.rounds] == ["accepted"]
    assert len(rig.runner.started) == 2


def test_only_what_was_measured_goes_out(rig: Rig) -> None:
    rig.channel.fails_with = HubError("not now")
    rig.add(range(20))
    rig.play()
    write_model(rig.home.mapped("/output/train/1"), b"another model")
    rig.channel.fails_with = None
    rig.tick(3)
    assert rig.channel.out == []
    assert "changed after it had been evaluated" in rig.condition("RoundFailed")["message"]
