# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from helmet_agent.contract import Detection, FileReference, GoldenBox, GoldenFrame, InputSpec, ModelManifest
from helmet_agent.detector import HelmetDetector, probe
from helmet_agent.errors import ModelError
from helmet_agent.ports import RawOutput
from helmet_agent.testing import FakeDetector, FakeModel, example_manifest
from helmet_agent.vision.decode import expected_shapes

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_agent.contract import Box
    from helmet_agent.ports import Detector, InferenceModel

SMALL = example_manifest(input=InputSpec(64, 96))
HEAD: Box = (10.0, 10.0, 30.0, 30.0)


def one_head(manifest: ModelManifest, logit: float = 12.0) -> list[RawOutput]:
    """A helmet-on of 16 x 16 input pixels around (24, 24)."""
    outputs = [RawOutput(np.zeros(shape[1:], np.float32), 1.0, 0) for shape in expected_shapes(manifest)]
    outputs[0].values[3, 3, 2] = logit
    outputs[1].values[3, 3] = (0, 0, math.log(2), math.log(2))
    return outputs


def golden_folder(folder: Path, boxes: list[GoldenBox], **limits: float) -> ModelManifest:
    encoded = cv2.imencode(".png", np.zeros((64, 96, 3), np.uint8))[1].tobytes()
    (folder / "golden.png").write_bytes(encoded)
    reference = FileReference("golden.png", hashlib.sha256(encoded).hexdigest(), len(encoded))
    return example_manifest(input=InputSpec(64, 96), golden=(GoldenFrame(reference, tuple(boxes), **limits),))


def test_detections_come_back_in_source_pixels() -> None:
    model: InferenceModel = FakeModel(SMALL, one_head(SMALL))
    detector: Detector = HelmetDetector(model)
    (found,) = detector.infer(detector.prepare(np.zeros((128, 192, 3), np.uint8)))
    assert found.label == "helmet-on"
    assert found.score == pytest.approx(1 / (1 + math.exp(-4)))
    assert found.box == pytest.approx((32, 32, 64, 64))
    assert detector.manifest is SMALL


def test_detect_is_prepare_and_infer() -> None:
    detector = HelmetDetector(FakeModel(SMALL, one_head(SMALL, 8.0)))
    image = np.zeros((100, 77, 3), np.uint8)
    assert detector.detect(image) == detector.infer(detector.prepare(image))
    assert len(detector.detect(image, 0.49)) == 1
    assert detector.detect(image, 0.51) == ()


def test_a_network_with_nan_outputs_is_an_error() -> None:
    outputs = one_head(SMALL, math.nan)
    with pytest.raises(ModelError, match="NaN"):
        HelmetDetector(FakeModel(SMALL, outputs)).detect(np.zeros((64, 96, 3), np.uint8))


def test_probe_accepts_a_model_that_finds_the_labels(tmp_path: Path) -> None:
    manifest = golden_folder(tmp_path, [GoldenBox("helmet-on", HEAD)])
    detector = FakeDetector([[Detection("helmet-on", 0.9, (11, 10, 31, 30))]], manifest)
    assert probe(detector, tmp_path) == []


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([], "no helmet-on at 10, 10, 30, 30 with overlap 0.5 or more: there is none at all"),
        ([Detection("helmet-off", 0.9, HEAD)], "there is none at all"),
        ([Detection("helmet-on", 0.9, (10, 10, 30, 15))], "the nearest overlaps by 0.25"),
        ([Detection("helmet-on", 0.05, HEAD)], "there is none at all"),
    ],
    ids=["nothing", "wrong class", "wrong place", "too weak"],
)
def test_probe_names_what_is_missing(tmp_path: Path, found: list[Detection], problem: str) -> None:
    manifest = golden_folder(tmp_path, [GoldenBox("helmet-on", HEAD)], min_iou=0.5, min_score=0.1)
    (line,) = probe(FakeDetector([found], manifest), tmp_path)
    assert line.startswith("golden.png: ")
    assert problem in line
    assert "\n" not in line


def test_probe_lets_one_detection_serve_one_label_only(tmp_path: Path) -> None:
    near: Box = (12.0, 10.0, 32.0, 30.0)
    manifest = golden_folder(tmp_path, [GoldenBox("helmet-on", HEAD), GoldenBox("helmet-on", near)])
    both = [Detection("helmet-on", 0.9, near), Detection("helmet-on", 0.8, HEAD)]
    assert len(probe(FakeDetector([both[:1]], manifest), tmp_path)) == 1
    assert probe(FakeDetector([both], manifest), tmp_path) == []


def test_probe_reports_a_failing_network_instead_of_raising(tmp_path: Path) -> None:
    manifest = golden_folder(tmp_path, [GoldenBox("helmet-on", HEAD)])
    (line,) = probe(HelmetDetector(FakeModel(manifest, one_head(manifest, math.inf))), tmp_path)
    assert "NaN or infinite" in line
    (line,) = probe(FakeDetector(manifest=manifest, fails_on=[0]), tmp_path)
    assert "golden.png: inference 0 fails" in line


def test_probe_reports_golden_pictures_that_cannot_be_trusted(tmp_path: Path) -> None:
    manifest = golden_folder(tmp_path, [GoldenBox("helmet-on", HEAD)])
    detector = FakeDetector([[Detection("helmet-on", 0.9, HEAD)]], manifest)
    (tmp_path / "golden.png").write_bytes(b"something else")
    assert "sha256 differs" in probe(detector, tmp_path)[0]
    (tmp_path / "golden.png").unlink()
    assert "cannot be read" in probe(detector, tmp_path)[0]


def test_probe_without_golden_frames_is_no_proof(tmp_path: Path) -> None:
    assert probe(FakeDetector(), tmp_path) == ["manifest has no golden frames: nothing shows that the model works here"]


def test_the_detector_needs_neither_server_nor_litert() -> None:
    # the cloud imports it to evaluate; a fresh interpreter shows what comes along
    code = (
        "import sys, helmet_agent.detector;"
        "print([m for m in ('fastapi', 'uvicorn', 'httpx', 'ai_edge_litert', 'structlog') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
