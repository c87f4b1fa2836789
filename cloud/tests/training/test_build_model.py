# SPDX-License-Identifier: Apache-2.0
"""``make model`` on a data folder of drawn pictures: everything but a model that has learned enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from helmet_cloud.training import build_model, sources
from helmet_cloud.training.bundle import MANIFEST
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
    return folder


def test_sources_are_split_and_the_new_site_is_never_trained_on(data: Path) -> None:
    lines: list[str] = []
    base = sources.read_base_data(data, lines.append)
    trained = {picture.path.parent.parent.name for picture in base.training}
    assert trained == {"complete", "extra_heads_only"}
    assert not {p.path for p in base.training} & {p.path for found in base.measured.values() for p in found}
    assert len(base.measured[sources.NEW_SITE]) == 3
    assert [len(scene) for scene in base.scenes] == [3]
    assert any("measured only" in line for line in lines)


def test_leave_out_person_takes_persons_from_training_and_figures(data: Path) -> None:
    base = sources.read_base_data(data, lambda _line: None, leave_out_person=True)
    every = [*base.training, *(p for found in base.measured.values() for p in found)]
    assert not any("person" in picture.complete for picture in every)


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
    assert sorted(path.name for path in (work / build_model.MODEL_FOLDER).iterdir()) == [
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
