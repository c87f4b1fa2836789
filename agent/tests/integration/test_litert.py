# SPDX-License-Identifier: Apache-2.0
"""The bundled model in the real interpreter, on real frames."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmet_agent.adapters.litert import (
    FLOAT_NAME,
    bundled_model_dir,
    load_float_variant,
    load_manifest,
    load_model,
    probe,
)
from helmet_agent.contract import FileReference, InputSpec, ModelManifest, OutputSpec, Thresholds
from helmet_agent.detector import HelmetDetector
from helmet_agent.errors import EXIT_FAILED, ManifestError, ModelError
from helmet_agent.vision.nms import iou_matrix

FRAMES = Path(__file__).parents[1] / "fixtures" / "frames"
# found with room to spare by any model worth shipping: heads from the front and the side, a hat seen from near
BARE = [f"one_by_one_{number}" for number in ("0260", "0340", "0420", "0780", "0860", "1280")]
WORN = [f"worker_zone_{number}" for number in ("0048", "0064", "0080", "0096", "0104")]


@pytest.fixture(scope="module")
def detector() -> HelmetDetector:
    return HelmetDetector(load_model(bundled_model_dir()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundled_model_dir(), tmp_path / "model"))


def rewrite(folder: Path, content: bytes | None = None, **changes: object) -> None:
    """Changes the model or its manifest, with size and digest to match."""
    manifest = load_manifest(folder)
    if content is not None:
        (folder / manifest.model.name).write_bytes(content)
        reference = FileReference(manifest.model.name, hashlib.sha256(content).hexdigest(), len(content))
        changes["model"] = reference
    (folder / "manifest.json").write_bytes(dataclasses.replace(manifest, **changes).to_bytes())  # type: ignore[arg-type]  # fields by name


def picture(name: str) -> np.ndarray:
    image = cv2.imread(str(FRAMES / "images" / f"{name}.jpg"))
    assert image is not None
    return image


def labels(name: str, size: tuple[int, ...], manifest: ModelManifest) -> list[tuple[str, list[float]]]:
    found = []
    for line in (FRAMES / "labels" / f"{name}.txt").read_text().splitlines():
        kind, x, y, w, h = (float(word) for word in line.split())
        box = [(x - w / 2) * size[1], (y - h / 2) * size[0], (x + w / 2) * size[1], (y + h / 2) * size[0]]
        found.append((manifest.labels[int(kind)], box))
    return found


@pytest.mark.parametrize(("name", "label"), [(name, "helmet-off") for name in BARE] + [(n, "helmet-on") for n in WORN])
def test_heads_and_their_people_are_found_in_real_frames(detector: HelmetDetector, name: str, label: str) -> None:
    image = picture(name)
    found = detector.detect(image)
    for wanted, box in labels(name, image.shape, detector.manifest):
        if wanted not in (label, "person"):
            continue
        boxes = np.array([one.box for one in found if one.label == wanted], np.float64).reshape(-1, 4)
        assert len(boxes), f"no {wanted} in {name}"
        assert iou_matrix(boxes, np.array([box])).max() >= 0.5
    opposite = {"helmet-on": "helmet-off", "helmet-off": "helmet-on"}[label]
    heads = [(one.score, one.label) for one in found if one.label in (label, opposite)]
    assert max(heads)[1] == label


def test_boxes_do_not_depend_on_the_size_of_the_source(detector: HelmetDetector) -> None:
    # In one picture another cell may win a tie of scores; a wrong mapping would shift the boxes of all of them.
    shifts, overlaps = [], []
    for name, label in [(name, "helmet-off") for name in BARE] + [(name, "helmet-on") for name in WORN]:
        image = picture(name)
        large = np.asarray(cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), np.uint8)
        for wanted in ("person", label):
            small_box = np.array(next(one.box for one in detector.detect(image) if one.label == wanted))
            large_box = np.array(next(one.box for one in detector.detect(large) if one.label == wanted)) / 3
            overlaps.append(iou_matrix(small_box[None], large_box[None])[0, 0])
            shifts.append(large_box - small_box)
    assert len(shifts) == 22
    assert sorted(overlaps)[1] > 0.95, "more than one box moved"
    assert min(overlaps) > 0.7
    assert np.abs(np.median(shifts, axis=0)).max() < 1.0


def test_an_empty_picture_shows_nobody(detector: HelmetDetector) -> None:
    assert detector.detect(np.full((720, 1280, 3), 114, np.uint8)) == ()


def test_a_lower_score_shows_at_least_as_much(detector: HelmetDetector) -> None:
    image = picture("one_by_one_1080")
    shown = detector.detect(image)
    more = detector.detect(image, 0.01)
    assert len(more) > len(shown)
    assert {(one.label, one.box) for one in shown} <= {(one.label, one.box) for one in more}
    assert [one.score for one in more] == sorted((one.score for one in more), reverse=True)


def test_the_bundled_model_passes_its_own_golden_frames(detector: HelmetDetector) -> None:
    assert probe(detector, bundled_model_dir()) == []
    assert detector.manifest.golden


def test_outputs_stay_valid_after_the_next_call(detector: HelmetDetector) -> None:
    model = load_model(bundled_model_dir())
    prepared = detector.prepare(picture("worker_zone_0080"))
    first = model.infer(prepared.pixels)
    kept = [raw.values.copy() for raw in first]
    model.infer(np.zeros_like(prepared.pixels))
    assert all(np.array_equal(raw.values, copy) for raw, copy in zip(first, kept, strict=True))


def test_threads_that_share_a_model_get_their_own_pictures_answer() -> None:
    model = load_model(bundled_model_dir())
    pixels = [np.full((352, 640, 3), value, np.uint8) for value in (0, 60, 200)]
    alone = [[raw.values for raw in model.infer(one)] for one in pixels]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(5):
            answer = model.infer(pixels[index])
            if not all(np.array_equal(a.values, b) for a, b in zip(answer, alone[index], strict=True)):
                wrong.append(index)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_a_file_with_its_manifest_beside_it_loads(folder: Path) -> None:
    name = load_manifest(folder).model.name
    renamed = folder / "renamed.tflite"
    (folder / name).rename(renamed)
    assert load_model(renamed, threads=2).manifest == load_manifest(folder)


def test_a_missing_model_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no model there: .*nowhere"):
        load_model(tmp_path / "nowhere")
    (folder / load_manifest(folder).model.name).unlink()
    with pytest.raises(ModelError, match="no model file there") as caught:
        load_model(folder)
    assert caught.value.exit_code == EXIT_FAILED


def test_a_missing_manifest_is_named(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    for path in (folder, folder / "model.tflite"):
        with pytest.raises(ManifestError, match=r"no manifest\.json beside the model"):
            load_model(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 1}', b"\xff" * 40])
def test_a_manifest_that_cannot_be_right_is_named(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ManifestError, match=r"manifest\.json: ") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_a_folder_is_named(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    with pytest.raises(ManifestError, match="manifest cannot be read: Is a directory"):
        load_model(folder)


def test_a_truncated_model_is_refused_before_litert_sees_it(folder: Path) -> None:
    file = folder / load_manifest(folder).model.name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"its manifest says .* truncated"):
        load_model(folder)


def test_a_flipped_bit_is_refused(folder: Path) -> None:
    file = folder / load_manifest(folder).model.name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match="sha256 differs"):
        load_model(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_damaged_model_with_a_matching_digest_does_not_crash(folder: Path, share: float) -> None:
    content = (folder / load_manifest(folder).model.name).read_bytes()
    rewrite(folder, content[: max(1, int(len(content) * share))])
    with pytest.raises(ModelError, match="no LiteRT model"):
        load_model(folder)


def test_a_model_of_another_input_shape_is_refused(folder: Path) -> None:
    rewrite(folder, input=InputSpec(320, 320))
    with pytest.raises(ModelError, match=r"input: expected shape \[1, 320, 320, 3\], found \[1, 352, 640, 3\]"):
        load_model(folder)


def test_a_model_of_other_outputs_is_refused(folder: Path) -> None:
    rewrite(folder, labels=("head",), thresholds=Thresholds({"head": 0.5}), golden=())
    with pytest.raises(ModelError, match=r"output 0: expected shape \[1, 44, 80, 1\], found \[1, 44, 80, 4\].*model"):
        load_model(folder)
    rewrite(folder, outputs=OutputSpec((8,)))
    with pytest.raises(ModelError, match="has 6 outputs, its manifest describes 2"):
        load_model(folder)


def test_a_model_whose_quantisation_is_nan_is_refused(folder: Path) -> None:
    model = load_model(folder)
    scale = model.infer(np.zeros((352, 640, 3), np.uint8))[0].scale
    content = (folder / load_manifest(folder).model.name).read_bytes()
    assert struct.pack("<f", scale) in content
    rewrite(folder, content.replace(struct.pack("<f", scale), struct.pack("<f", float("nan"))))
    with pytest.raises(ModelError):
        load_model(folder)


def test_pixels_of_another_size_are_refused() -> None:
    model = load_model(bundled_model_dir())
    with pytest.raises(ModelError, match=r"expected pixels uint8 \[352, 640, 3\]"):
        model.infer(np.zeros((64, 64, 3), np.uint8))


def test_a_float_variant_is_known_by_its_own_digest(folder: Path) -> None:
    content = (folder / FLOAT_NAME).read_bytes()
    rewrite(folder, model=FileReference("model.tflite", "0" * 64, 1))
    variant = load_float_variant(folder)
    assert variant.manifest.model == FileReference(FLOAT_NAME, hashlib.sha256(content).hexdigest(), len(content))
    assert HelmetDetector(variant).detect(picture("worker_zone_0080"))
    (folder / FLOAT_NAME).unlink()
    with pytest.raises(ModelError, match=f"no model file there: .*{FLOAT_NAME}"):
        load_float_variant(folder)


def test_a_model_that_answers_nan_is_refused_in_one_line(folder: Path) -> None:
    # A served model may be float; weights of NaN make its answers NaN, with a manifest that fits the file.
    content = bytearray((folder / FLOAT_NAME).read_bytes())
    halves = np.frombuffer(content, np.uint16)
    largest = len(content) // 2 // 2
    halves[largest : largest + 4096] = 0x7E00
    name = load_manifest(folder).model.name
    (folder / name).write_bytes(content)
    rewrite(folder, bytes(content))
    command = (sys.executable, "-m", "helmet_agent", "detect", "--model", str(folder))
    done = subprocess.run(
        (*command, str(FRAMES / "images" / "worker_zone_0080.jpg")), capture_output=True, text=True, check=False
    )
    assert done.returncode == EXIT_FAILED
    assert "NaN" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
