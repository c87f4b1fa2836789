# SPDX-License-Identifier: Apache-2.0
"""The evaluation of a real file, through the detector that runs on the nodes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmet_agent.adapters.litert import bundled_model_dir, load_manifest
from helmet_agent.errors import ManifestError, ModelError, SourceMissing
from helmet_cloud.evaluation import detect_pictures, evaluate, evaluate_detections, open_detector
from helmet_cloud.labels import LabelledPicture, read_yolo

FRAMES = Path(__file__).parents[3] / "agent/tests/fixtures/frames"


@pytest.fixture(scope="module")
def pictures() -> tuple[LabelledPicture, ...]:
    """Every fourth of the free frames, labelled by hand."""
    found = read_yolo(FRAMES)
    assert found.problems == ()
    return found.pictures[::4]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The bundled model's file and manifest in a folder of the test's own."""
    for name in (load_manifest(bundled_model_dir()).model.name, "manifest.json"):
        shutil.copyfile(bundled_model_dir() / name, tmp_path / name)
    return tmp_path


def test_the_bundled_model_finds_people(model: Path, pictures: tuple[LabelledPicture, ...]) -> None:
    done: list[tuple[int, int]] = []
    report = evaluate(model, pictures, progress=lambda now, end: done.append((now, end)))
    manifest = load_manifest(model)
    assert report.model == manifest.model.sha256
    assert report.pictures == len(pictures)
    assert done == [(n + 1, len(pictures)) for n in range(len(pictures))]
    assert report.per_class["person"].recall > 0.5
    assert "helmet" in report.left_out
    assert {label: figures.threshold for label, figures in report.per_class.items()} == {
        label: manifest.thresholds.score[label] for label in report.per_class
    }


def test_file_and_folder_give_the_same_figures(model: Path, pictures: tuple[LabelledPicture, ...]) -> None:
    assert evaluate(model / load_manifest(model).model.name, pictures) == evaluate(model, pictures)


def test_it_is_the_detector_with_plain_figures(model: Path, pictures: tuple[LabelledPicture, ...]) -> None:
    detector = open_detector(model)
    seen = detect_pictures(detector, pictures)
    assert min(found.score for frame in seen for found in frame) < 0.1  # the curve reaches below the thresholds
    manifest = detector.manifest
    expected = evaluate_detections(pictures, seen, manifest.labels, manifest.thresholds.score)
    assert dataclasses.replace(evaluate(model, pictures), model=None) == expected


def test_another_file_beside_the_manifest_is_named_by_its_own_digest(
    model: Path, pictures: tuple[LabelledPicture, ...]
) -> None:
    variant = model / "model_float16.tflite"
    content = (model / load_manifest(model).model.name).read_bytes() + b"\0"
    variant.write_bytes(content)
    report = evaluate(variant, pictures)
    assert report.model == hashlib.sha256(content).hexdigest()
    assert report.per_class == evaluate(model, pictures).per_class


def test_a_damaged_model_is_refused(model: Path, pictures: tuple[LabelledPicture, ...]) -> None:
    file = model / load_manifest(model).model.name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    for path in (file, model):
        with pytest.raises(ModelError, match="sha256 differs"):
            evaluate(path, pictures)


def test_models_that_are_not_there(model: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        open_detector(model / "none.tflite")
    (model / "manifest.json").unlink()
    with pytest.raises(ManifestError):
        open_detector(model)


def test_thresholds_of_the_manifest_move_precision_but_not_the_curve(
    model: Path, pictures: tuple[LabelledPicture, ...]
) -> None:
    before = evaluate(model, pictures)
    document = json.loads((model / "manifest.json").read_text())
    document["thresholds"]["score"] = dict.fromkeys(document["labels"], 0.99)
    (model / "manifest.json").write_text(json.dumps(document))
    after = evaluate(model, pictures)
    assert after.map50 == before.map50
    assert after.per_class["person"].precision == 0.0
    assert after.per_class["person"].predictions == 0


def test_a_picture_that_changed_since_it_was_labelled_is_an_error(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    cv2.imwrite(str(path), np.zeros((20, 10, 3), np.uint8))
    detector = open_detector(model)
    assert detect_pictures(detector, [LabelledPicture(path, 10, 20)]) == [()]
    with pytest.raises(SourceMissing, match="labels are for 20x10 pixels, it has 10x20"):
        detect_pictures(detector, [LabelledPicture(path, 20, 10)])
    path.unlink()
    with pytest.raises(SourceMissing, match="no such picture"):
        detect_pictures(detector, [LabelledPicture(path, 10, 20)])
