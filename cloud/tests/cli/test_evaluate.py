# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helmet_agent.adapters.litert import bundled_model_dir, load_manifest
from helmet_cloud.cli import main
from helmet_cloud.evaluation import EvaluationReport

FRAMES = Path(__file__).parents[3] / "agent/tests/fixtures/frames"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Four of the free frames."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for path in sorted((FRAMES / folder).iterdir())[::5]:
            shutil.copyfile(path, tmp_path / folder / path.name)
    return tmp_path


def test_json_is_the_report(frames: Path, capsys: Captured) -> None:
    assert main(["evaluate", "--model", str(bundled_model_dir()), "--data", f"yolo:{frames}", "--json"]) == 0
    report = EvaluationReport.from_json(json.loads(capsys.readouterr().out))
    assert report.model == load_manifest(bundled_model_dir()).model.sha256
    assert report.pictures == 4


def test_the_table_names_labels_means_and_what_is_left_out(frames: Path, capsys: Captured) -> None:
    assert main(["evaluate", "--data", f"yolo:{frames}"]) == 0
    out = capsys.readouterr().out
    for expected in ("person", "helmet-on", "mean", "AP50-95", "left out: helmet: no object in 4 pictures"):
        assert expected in out
    assert "…" not in out  # all of it fits into 80 columns


def test_completeness_decides_what_is_measured(frames: Path, capsys: Captured) -> None:
    data = ["--data", f"yolo:{frames}", "--json"]
    assert main(["evaluate", *data, "--complete", "helmet-on,helmet-off"]) == 0
    report = EvaluationReport.from_json(json.loads(capsys.readouterr().out))
    assert report.left_out["person"] == "no picture is completely labelled for it"


def test_wrong_labels_are_named_and_the_rest_is_measured(frames: Path, capsys: Captured) -> None:
    text = next((frames / "labels").glob("*.txt"))
    text.write_text(text.read_text() + "nonsense\n")
    assert main(["evaluate", "--data", f"yolo:{frames}"]) == 0
    out, err = capsys.readouterr()
    assert f"{text}:3: expected class cx cy w h" in err
    assert "1 problems in the labels" in err
    assert "mean" in out


def test_nothing_to_measure_fails_with_the_reason(frames: Path, capsys: Captured) -> None:
    for text in (frames / "labels").iterdir():
        text.write_text("")
    assert main(["evaluate", "--data", f"yolo:{frames}"]) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("helmet-cloud: nothing to measure in 4 pictures: person: no object in 4 pictures")


@pytest.mark.parametrize(
    ("model", "message"),
    [("none.tflite", "no model there"), ("images", "no manifest.json"), ("labels", "no manifest.json")],
)
def test_a_model_that_cannot_be_used_is_one_line(frames: Path, capsys: Captured, model: str, message: str) -> None:
    assert main(["evaluate", "--model", str(frames / model), "--data", f"yolo:{frames}"]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["evaluate"], ["evaluate", "--data", "x"], ["evaluate", "--data", "yolo:none"]])
def test_bad_usage(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_version(capsys: Captured) -> None:
    assert main(["version", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert set(about) == {"version", "agent", "python", "machine", "training"}
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"helmet-cloud {about['version']}")


def test_no_command_shows_help_and_unknown_ones_are_refused(capsys: Captured) -> None:
    assert main([]) == 2
    assert "evaluate" in capsys.readouterr().out
    for unknown in ("server", "bogus"):
        assert main([unknown]) == 2
        assert "No such command" in capsys.readouterr().err


def test_evaluating_does_not_import_tensorflow(frames: Path) -> None:
    script = (
        "import sys; from helmet_cloud.cli import main; "
        f"code = main(['evaluate', '--data', 'yolo:{frames}', '--json']); "
        "sys.exit(code or any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_is_no_traceback(frames: Path) -> None:
    command = f"{sys.executable} -m helmet_cloud.cli evaluate --data yolo:{frames} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
