# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent.contract import ExampleRecord
from helmet_cloud.labels import read_sedna
from helmet_cloud.store.examples import add_examples
from helmet_cloud.store.rounds import lineage
from helmet_cloud.store.samples import version_members

if TYPE_CHECKING:
    from conftest import Rig

FULL_ROUND = [
    "Train/Waiting",
    "Train/Ready",
    "Train/Starting",
    "Train/Running",
    "Train/Completed",
    "Eval/Ready",
    "Eval/Starting",
    "Eval/Running",
    "Eval/Completed",
    "Deploy/Waiting",
    "Deploy/Ready",
    "Deploy/Completed",
    "Train/Waiting",
]


def test_progress_is_told_before_there_is_any_file(rig: Rig) -> None:
    rig.tick()
    assert rig.stages == ["Train/Waiting"]
    assert "cannot be read" in rig.message
    assert str(rig.file) in rig.message
    assert [one["status"] for one in rig.job()["status"]["conditions"][:2]] == ["False", "False"]


def test_a_round_goes_through_every_stage_of_sedna(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    assert rig.stages == FULL_ROUND
    deployed = rig.condition("ModelDeployed")
    assert deployed["status"] == "True"
    assert "precision_delta +0.200 (0.600 -> 0.800), wanted precision_delta > 0.1" in deployed["message"]
    assert rig.condition("RoundFailed")["status"] == "False"
    assert rig.message == "0 of 7 samples"
    (row,) = rig.rounds
    assert (row.number, row.status, row.release, row.model_sha256) == (
        1,
        "accepted",
        1,
        rig.channel.out[0]["sha256"],
    )


def test_describe_shows_each_step_and_the_numbers_of_the_decision(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    (decision,) = rig.events("Accepted")
    assert "precision_delta +0.200" in decision
    assert "regression recall: worst" in decision
    assert rig.events("Triggered") == [f"round 1: {len(rig.samples()) - 5} of 7 samples"]
    assert len(rig.events("WorkerStarted")) == 2
    (deployed,) = rig.events("Deployed")
    assert "is out as release 1" in deployed


def test_the_data_of_a_condition_is_sednas(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    trained, judged = (
        next(
            json.loads(one["data"])
            for one in rig.job()["status"]["conditions"]
            if (one["stage"], one["type"]) == wanted
        )
        for wanted in (("Train", "Completed"), ("Deploy", "Ready"))
    )
    assert judged["decision"]["metric"]["value"] == 0.2
    assert set(trained["input"]) == {"models", "dataURL", "dataIndexURL", "outputDir"}
    assert trained["output"]["models"][0]["metrics"] == {"loss": 1.0}
    assert trained["input"]["dataURL"].endswith("/output/data/train/1/data.txt")


def test_a_round_trains_on_its_version_and_nothing_else(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    (row,) = rig.rounds
    spec = next(one for one in rig.runner.started if one.kind == "train")
    data = Path(spec.environment["TRAIN_DATASET_URL"])
    assert data == rig.home.mapped("/output/data/train/1/data.txt")
    found = read_sedna(data)
    assert not found.problems
    with rig.database.read() as session:
        train, evaluation = (version_members(session, one) for one in (row.train_version, row.eval_version))
    assert sorted(one.path.stem for one in found.pictures) == [sha256 for sha256, _, _ in train]
    assert len(train) + len(evaluation) == 20
    assert not {one for one, _, _ in train} & {one for one, _, _ in evaluation}


def test_workers_get_sednas_environment_and_ours(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    train, evaluation = rig.runner.started
    mapped = rig.home.mapped
    wanted = {
        "NAMESPACE": "default",
        "JOB_NAME": "helmet-detection-demo",
        "BASE_MODEL_URL": str(mapped("/models/base_model")),
        "MODEL_URL": str(mapped("/output/train/1")),
        "ORIGINAL_DATASET_URL": str(rig.file),
        "HELMET_RETENTION": "blend",
        "HELMET_BLEND_SHARE": "0.6",
        "batch_size": "32",
        "epochs": "1",
        "class_names": "person,helmet,helmet-on,helmet-off",
        "HELMET_CHECKPOINT_DIR": str(train.folder),
    }
    assert {key: train.environment[key] for key in wanted} == wanted
    assert "HELMET_REPLAY_URL" not in train.environment
    wanted = {
        "MODEL_URLS": f"{mapped('/output/train/1')};{mapped('/models/deploy_model')}",
        "TEST_DATASET_URL": str(mapped("/output/data/eval/1/data.txt")),
        "HELMET_REGRESSION_URL": str(rig.home.settings.regression_set),
        "input_shape": "352,640",
    }
    assert {key: evaluation.environment[key] for key in wanted} == wanted


def test_the_next_round_starts_from_the_accepted_model_and_replays_the_old_samples(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    rig.add(range(20, 40))
    rig.play()
    first, second = rig.rounds
    assert (second.status, second.base_sha256, second.release) == ("accepted", first.model_sha256, 2)
    spec = [one for one in rig.runner.started if one.kind == "train"][1]
    assert spec.environment["BASE_MODEL_URL"] == str(rig.home.mapped("/output/train/1"))
    replayed = {one.path.stem for one in read_sedna(Path(spec.environment["HELMET_REPLAY_URL"])).pictures}
    with rig.database.read() as session:
        before, now = ({one for one, _, _ in version_members(session, row.train_version)} for row in rig.rounds)
    assert replayed == before
    assert not before & now
    assert spec.environment["HELMET_REPLAY_SHARE"] == "0.25"
    evaluation = [one for one in rig.runner.started if one.kind == "eval"][1]
    assert evaluation.environment["MODEL_URLS"].split(";")[1] == str(rig.home.mapped("/output/train/1"))


def test_the_channel_is_told_all_that_travels_with_the_model(rig: Rig) -> None:
    def change(document: dict) -> None:
        document["spec"]["deploySpec"]["model"] |= {"hotUpdateEnabled": True, "pollPeriodSeconds": 7}

    rig.change(change)
    rig.annotate(ring="canary")
    rig.add(range(20))
    rig.play()
    (publication,) = rig.channel.publications
    assert publication.delivery.to_json() == {
        "job": "default/helmet-detection-demo",
        "hot_update": True,
        "poll_seconds": 7,
    }
    assert publication.mining.parameters == {"threshold_img": "0.9", "threshold_box": "0.9"}
    (row,) = rig.rounds
    assert (publication.ring, publication.dataset, publication.parent) == ("canary", row.train_version, row.base_sha256)
    assert publication.report["metric"]["value"] == 0.2


def test_the_deployed_model_tells_what_it_was_measured_at(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    status = rig.resources.get("Model", "default", "deploy-model")["status"]
    metrics = {one["key"]: one["value"] for one in status["metrics"]}
    assert metrics["precision[helmet-off]"] == "0.8000"
    assert metrics["recall[person]"] == "0.7000"
    assert status["updateTime"].endswith("Z")


def test_what_one_camera_saw_within_ten_seconds_stays_on_one_side_and_leads_back_to_its_node(rig: Rig) -> None:
    rig.add(range(40))
    records = []
    for number, picture in enumerate(sorted(rig.file.parent.glob("*.png"))):
        content = picture.read_bytes()
        records.append(
            ExampleRecord(
                sha256=hashlib.sha256(content).hexdigest(),
                node="gate-1",
                source="camera",
                frame=number,
                time_seconds=1000.0 + 10 * (number // 4) + number % 4,
                width=32,
                height=24,
                model="0" * 64,
                rule="IBT",
                value=1.0,
                detections=(),
            )
        )
    with rig.database.write() as session:
        add_examples(session, [(record, 1) for record in records], 0.0)
    rig.play()
    samples = rig.samples()
    for start in range(0, 40, 4):
        assert len({samples[record.sha256][0] for record in records[start : start + 4]}) == 1
    (row,) = rig.rounds
    with rig.database.read() as session:
        found = lineage(session, str(row.model_sha256))
    assert found.nodes == ("gate-1",)
    assert {one.source for one in found.samples} == {"camera"}
    assert {one.sha256 for one in found.samples} == {one for one, (side, *_) in samples.items() if side == "train"}


def test_a_model_that_passes_outside_of_the_deploy_window_waits_for_it(rig: Rig) -> None:
    timer = {"start": "2:00", "end": "04:00"}
    rig.change(lambda document: document["spec"]["deploySpec"]["trigger"].update(timer=timer))
    rig.add(range(20))
    rig.play()
    assert rig.stages[-1] == "Deploy/Waiting"
    assert "precision_delta +0.200" in rig.message
    assert rig.message.endswith("waits for the window 02:00-04:00 UTC")
    assert rig.channel.out == []
    rig.clock.advance(14.2 * 3600.0)
    rig.tick()
    assert [row.status for row in rig.rounds] == ["accepted"]


def test_the_accepted_model_is_found_in_the_hubs_own_store_when_the_output_folder_was_emptied(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    (first,) = rig.rounds
    made = rig.home.mapped("/output/train/1")
    kept = rig.home.models / str(first.model_sha256)
    rig.add(range(20, 40))
    kept.parent.mkdir()
    made.rename(kept)
    rig.play()
    assert [row.status for row in rig.rounds] == ["accepted", "accepted"]
    assert rig.rounds[1].base_folder == str(kept)
