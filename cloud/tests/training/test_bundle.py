# SPDX-License-Identifier: Apache-2.0
"""A model folder, made round the bundled model and the free frames."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helmet_agent.adapters.litert import bundled_model_dir, load_manifest
from helmet_agent.detector import probe
from helmet_agent.errors import ModelError
from helmet_cloud.evaluation import open_detector
from helmet_cloud.labels import LabelBox, LabelledPicture, read_yolo
from helmet_cloud.training.bundle import (
    MODEL,
    Origin,
    first_manifest,
    reference,
    with_golden,
    with_thresholds,
    write_manifest,
)
from helmet_cloud.training.sources import scenes

if TYPE_CHECKING:
    from helmet_agent.contract import ModelManifest

pytestmark = pytest.mark.training  # the folder's names come with the exporter, and that with TensorFlow

FRAMES = Path(__file__).parents[3] / "agent/tests/fixtures/frames"
ORIGIN = Origin("test", 3, "ab" * 32)


@pytest.fixture(scope="module")
def frames() -> list[LabelledPicture]:
    return list(read_yolo(FRAMES).pictures)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copyfile(bundled_model_dir() / load_manifest(bundled_model_dir()).model.name, tmp_path / MODEL)
    return tmp_path


@pytest.fixture
def manifest(folder: Path) -> ModelManifest:
    return first_manifest(folder, ORIGIN)


def test_first_manifest_is_complete_enough_to_load(folder: Path, manifest: ModelManifest) -> None:
    assert load_manifest(folder) == manifest
    assert manifest.model == reference(folder / MODEL)
    assert (manifest.name, manifest.release, manifest.dataset, manifest.parent) == ("test", 3, "ab" * 32, None)
    assert open_detector(folder).manifest == manifest


def test_frames_of_one_clip_are_one_scene(frames: list[LabelledPicture]) -> None:
    found = scenes(frames)
    assert [len(scene) for scene in found] == [12, 8]
    assert {picture.path.name[:8] for picture in found[0]} == {"one_by_o"}


def test_golden_frames_pass_the_agents_own_probe(
    folder: Path, manifest: ModelManifest, frames: list[LabelledPicture]
) -> None:
    chosen = with_golden(folder, manifest, scenes(frames))
    write_manifest(folder, chosen)
    assert len(chosen.golden) == 2
    assert probe(open_detector(folder), folder) == []
    labels = {picture.path.name: picture for picture in frames}
    for frame in chosen.golden:
        truth = labels[frame.picture.name.removeprefix("golden_")]
        assert [box.label for box in frame.boxes] == [mark.label for mark in truth.boxes]
        assert [box.box for box in frame.boxes] == [pytest.approx(mark.box, abs=0.01) for mark in truth.boxes]


def test_scene_that_the_model_cannot_see_is_no_golden_frame(
    folder: Path, manifest: ModelManifest, frames: list[LabelledPicture]
) -> None:
    hidden = LabelBox("helmet-off", (2.0, 2.0, 20.0, 20.0))
    wrong = [replace(picture, boxes=(*picture.boxes, hidden)) for picture in frames[:3]]
    with pytest.raises(ModelError, match="no golden frame"):
        with_golden(folder, manifest, [wrong])
    with pytest.raises(ModelError, match="no golden frame"):
        with_golden(folder, manifest, [[replace(frames[0], boxes=())]])


def test_thresholds_are_chosen_for_every_label(
    folder: Path, manifest: ModelManifest, frames: list[LabelledPicture]
) -> None:
    chosen = with_thresholds(folder, manifest, frames)
    assert set(chosen.thresholds.score) == set(manifest.labels)
    assert all(0.1 <= score <= 0.3 for score in chosen.thresholds.score.values())
