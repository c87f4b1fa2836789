# SPDX-License-Identifier: Apache-2.0
"""``make model`` on a data folder of drawn pictures: everything but a model that has learned enough."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from helmet_cloud.training import build_model, sources
from helmet_cloud.training.bundle import MANIFEST, WEIGHTS
from helmet_cloud.training.cycles import CYCLES, RESULT, averaged, shortened, train_cycles
from helmet_cloud.training.export import load_weights
from helmet_cloud.training.network import NANO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from helmet_cloud.labels import LabelledPicture

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory,
    draw: Callable[..., LabelledPicture],
    write_start: Callable[[Path, int], object],
) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_start(folder / sources.START_FILE, NANO.base)
    for number, source in enumerate(sources.SOURCES):
        labels = folder / source.folder / sources.ANNOTATIONS
        labels.mkdir(parents=True)
        for index in range(20 if source.trained else 3):
            name = f"clip_{number}_{index:04d}"
            picture = draw(folder / source.folder / "images" / f"{name}.jpg", 100 * number + index, size=(320, 176))
            lines = []
            for mark in picture.boxes:
                x1, y1, x2, y2 = mark.box
                centre = f"{(x1 + x2) / 640:.6f} {(y1 + y2) / 352:.6f}"
                label = {"person": 0, "helmet-on": 2}[mark.label]
                lines.append(f"{label} {centre} {(x2 - x1) / 320:.6f} {(y2 - y1) / 176:.6f}\n")
            (labels / f"{name}.txt").write_text("".join(lines))
        if source.head_points is not None:
            point_at_heads(folder / source.folder)
    return folder


def point_at_heads(folder: Path) -> None:
    """Writes a file of key points: one unboxed bare head in each picture's lower left corner."""
    names = sorted(path.name for path in (folder / "images").iterdir())
    content = {
        "images": [{"id": index, "file_name": name} for index, name in enumerate(names)],
        "categories": [{"id": 2, "name": "helmet_off"}],
        "annotations": [
            {"image_id": index, "category_id": 2, "bbox": [0, 130, 20, 46], "keypoints": [8, 160, 2]}
            for index in range(len(names))
        ],
    }
    (folder / "person_wearing_coco.json").write_text(json.dumps(content))


def test_sources_are_split_and_the_new_site_is_never_trained_on(data: Path) -> None:
    lines: list[str] = []
    base = sources.read_base_data(data, lines.append)
    trained = {picture.path.parent.parent.name for picture in base.training}
    assert trained == {"complete", "extra_heads_only"}
    assert not {p.path for p in base.training} & {p.path for found in base.measured.values() for p in found}
    assert len(base.measured[sources.NEW_SITE]) == 3
    assert [len(scene) for scene in base.scenes] == [3]
    assert any("measured only" in line for line in lines)
    assert len(base.head_points) == 20


def test_leave_out_person_takes_persons_from_training_and_figures(data: Path) -> None:
    base = sources.read_base_data(data, lambda _line: None, leave_out_person=True)
    every = [*base.training, *(p for found in base.measured.values() for p in found)]
    assert not any("person" in picture.complete for picture in every)
    assert base.head_points == {}, "these points come with the persons' boxes"
    assert not any(cycle.completes_heads for cycle in shortened([9, 8, 7], head_points=False))
    assert any(cycle.completes_heads for cycle in shortened([9, 8, 7]))


def test_missing_data_is_one_line_and_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = build_model.main(["--data", str(tmp_path / "none"), "--work", str(tmp_path / "work")])
    assert code == 1
    assert capsys.readouterr().err.startswith("error: no such folder")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_untrained_model_is_refused_and_nothing_is_installed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout, work = tmp_path / "checkout", tmp_path / "work"
    (checkout / build_model.AGENT_ASSETS).mkdir(parents=True)
    command = ["--data", str(data), "--work", str(work), "--repository", str(checkout), "--steps", "2"]
    assert build_model.main(command) == 1
    said = capsys.readouterr().err
    assert "2 steps of 16" in said
    assert "error: no golden frame" in said
    assert sorted(path.name for path in (work / RESULT).iterdir()) == [
        MANIFEST,
        "model.tflite",
        "model_float16.tflite",
        "weights.npz",
    ]
    assert list((checkout / build_model.AGENT_ASSETS).iterdir()) == []

    assert build_model.main(command) == 1
    said = capsys.readouterr().err
    assert "resumed at step 2 of 2" in said
    assert "exported files are there already" in said

    # a later cycle goes on from the first one's weights, and from what it sees at the heads that have no box
    first, second = shortened([2])[0], CYCLES[-1]
    second = replace(second, plan=replace(second.plan, steps=1))
    lines: list[str] = []
    base = sources.read_base_data(data, lambda _line: None)
    assert train_cycles(data / sources.START_FILE, base, (first, second), work, lines.append)
    assert any(line.startswith("resumed at step 2 of 2") for line in lines)
    (heads,) = [line for line in lines if line.startswith("heads without a box in")]
    assert "helmet-off" in heads
    weights = [load_weights(work / name / WEIGHTS).model.get_weights() for name in ("first", "heads")]
    mean = averaged((first, second), work).model.get_weights()
    for one, other, middle in zip(*weights, mean, strict=True):
        assert middle == pytest.approx((one + 2 * other) / 3, rel=1e-5, abs=1e-6)
    kernels = [(one, other) for one, other in zip(*weights, strict=True) if one.ndim == 4]
    assert any((one != other).any() for one, other in kernels)
    for one, other in kernels:
        # one step of a warm-up moves a weight by 1/80 of the peak rate; a network begun anew would be far away
        assert other == pytest.approx(one, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("steps", ["0", "1,2,3,4", "1,-1"])
def test_impossible_numbers_of_steps_are_refused(steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_model.main(["--data", "x", "--work", "y", "--steps", steps])
    assert "one to 3 positive numbers" in capsys.readouterr().err
