# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from conftest import Rig


def test_a_data_set_tells_how_many_samples_it_has(rig: Rig) -> None:
    rig.add(range(5))
    rig.tick()
    status = rig.resources.get("Dataset", "default", "incremental-dataset")["status"]
    assert status["numberOfSamples"] == 5
    assert status["updateTime"].endswith("Z")


def test_a_file_that_vanishes_and_comes_back_is_the_same_data_set(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    rig.add(range(20, 24))
    rig.tick()
    before, message = rig.samples(), rig.message
    shutil.move(rig.file, rig.file.with_suffix(".away"))
    rig.tick(2)
    assert "cannot be read" in rig.message
    assert rig.samples() == before
    shutil.move(rig.file.with_suffix(".away"), rig.file)
    rig.tick()
    assert (rig.samples(), rig.message) == (before, message)
    assert len(rig.rounds) == 1


def test_a_file_that_shrinks_loses_no_account_of_what_was_used(rig: Rig) -> None:
    rig.add(range(20))
    rig.play()
    before = rig.samples()
    lines = rig.file.read_text().splitlines(keepends=True)
    rig.file.write_text("".join(lines[:5]))
    rig.tick()
    rig.file.write_text("".join(lines))
    rig.tick()
    assert rig.samples() == before
    assert rig.message == "0 of 7 samples"


def test_what_is_wrong_with_lines_stands_in_the_jobs_condition_and_in_an_event(rig: Rig) -> None:
    rig.add(range(3))
    with rig.file.open("ab") as stream:
        stream.write(b"nowhere.png 1,1,2,2,0\n" + b"x" * (10 << 20) + b"\n")
    rig.tick()
    assert "2 lines are left out" in rig.message
    assert "no such picture" in rig.message
    assert "line is longer than" in rig.message
    assert any("2 lines are left out" in line for line in rig.events("DatasetRead"))


def test_a_data_set_of_another_node_is_read_where_its_file_is_and_told(rig: Rig) -> None:
    def move(document: dict) -> dict:
        document["spec"]["nodeName"] = "node1"
        return document

    rig.resources.update("Dataset", "default", "incremental-dataset", move)
    rig.add(range(20))
    rig.tick()
    told = "names the node node1: its file is read on the hub"
    assert told in rig.events("DatasetRead")[0]
    rig.play()
    assert [row.status for row in rig.rounds] == ["accepted"]
    rig.tick()
    assert told in rig.message


def test_a_job_without_its_data_set_waits_and_says_so(rig: Rig) -> None:
    rig.resources.delete("Dataset", "default", "incremental-dataset")
    rig.tick()
    assert rig.message == "the Dataset incremental-dataset is not there: create it"


def test_pictures_of_the_regression_set_are_neither_trained_on_nor_evaluated(rig: Rig) -> None:
    rig.add(range(-3, 20))  # picture -1 is the regression set's
    rig.play()
    (row,) = rig.rounds
    assert row.status == "accepted"
    assert len(rig.samples()) == 22
    assert any("1 samples show what the regression set shows" in line for line in rig.events("Triggered"))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_shows_the_moment_of_a_regression_picture_is_left_out_too(rig: Rig) -> None:
    """The same picture encoded otherwise, and one of the same ten seconds of the same camera."""
    guard = cv2.imdecode(np.frombuffer(rig.picture(-1), np.uint8), cv2.IMREAD_COLOR)
    assert guard is not None
    copy = bytes(cv2.imencode(".png", cv2.add(guard, np.full_like(guard, 2)))[1])
    for number, second in ((-1, 3.0), (7, 8.0), (8, 13.0)):
        rig.take(number, second)
    rig.add(range(20))
    (rig.file.parent / "copy_000.png").write_bytes(copy)
    with rig.file.open("a") as stream:
        stream.write("copy_000.png 1,1,20,20,2\n")
    rig.play()
    sides = {sha256: side for sha256, (side, _, _) in rig.samples().items()}
    assert sides[digest(copy)] == "guarded"
    assert sides[digest(rig.picture(7))] == "guarded"
    assert sides[digest(rig.picture(8))] != "guarded", "of the next ten seconds"
    assert sum(side == "guarded" for side in sides.values()) == 2
    assert "2 samples show what the regression set shows" in "".join(rig.events("Triggered"))
    trained = (rig.home.mapped("/output") / "data/train/1/data.txt").read_text()
    assert digest(copy) not in trained
    groups = {}
    for role in ("train", "eval"):
        groups |= json.loads((rig.home.mapped("/output") / f"data/{role}/1/groups.json").read_text())
    assert groups.keys() == {f"{sha256}.png" for sha256, side in sides.items() if side != "guarded"}
    assert groups[f"{digest(rig.picture(8))}.png"].startswith("node-1\ngate\n"), "the worker is told of neighbours"
    rig.restart()
    rig.play()
    assert {sha256: side for sha256, (side, _, _) in rig.samples().items()} == sides, "decided once"


def test_without_anything_to_evaluate_on_no_round_begins(rig: Rig) -> None:
    rig.change(lambda document: document["spec"]["dataset"].update(trainProb=0.999))
    rig.add(range(12))
    rig.play()
    assert rig.rounds == []
    assert "none to evaluate on" in rig.message
    rig.change(lambda document: document["spec"]["dataset"].update(trainProb=0.5))
    rig.add(range(12, 24))
    rig.play()
    assert [row.status for row in rig.rounds] == ["accepted"]


def test_without_a_model_to_start_from_no_round_begins(rig: Rig) -> None:
    weights = rig.home.mapped("/models/base_model/weights.npz")
    weights.rename(weights.with_suffix(".away"))
    rig.add(range(20))
    rig.play()
    assert rig.rounds == []
    assert "has no weights.npz to start training from" in rig.message
    weights.with_suffix(".away").rename(weights)
    rig.play()
    assert [row.status for row in rig.rounds] == ["accepted"]


def test_old_pictures_of_another_data_set_are_replayed_instead_of_distilled(rig: Rig) -> None:
    folder = rig.home.mapped("/data/old")
    folder.mkdir(parents=True)
    dataset = rig.resources.get("Dataset", "default", "incremental-dataset")
    rig.add(range(100, 110))
    for picture in rig.file.parent.glob("*.png"):
        picture.rename(folder / picture.name)
    rig.file.rename(folder / "old.txt")
    spec = dataset["spec"] | {"url": "/data/old/old.txt"}
    rig.apply({"apiVersion": "sedna.io/v1alpha1", "kind": "Dataset", "metadata": {"name": "old"}, "spec": spec})
    rig.annotate(replay_dataset="old", replay_share="0.3")
    rig.add(range(20))
    rig.play()
    environment = rig.runner.started[0].environment
    assert len(rig.home.mapped("/output/data/replay/1/data.txt").read_text().splitlines()) == 10
    assert (environment["HELMET_RETENTION"], environment["HELMET_REPLAY_SHARE"]) == ("blend", "0.3")
    assert environment["HELMET_BLEND_SHARE"] == "0.45", "the replayed pictures keep most"
