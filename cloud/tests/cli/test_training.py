# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helmet_agent.adapters.litert import load_manifest
from helmet_cloud.cli import main

FRAMES = Path(__file__).parents[3] / "agent/tests/fixtures/frames"
DATA = ["--data", f"yolo:{FRAMES}"]


@pytest.mark.parametrize(("command", "rest"), [("train", ["--work", "never"]), ("export", ["--out", "never"])])
def test_without_the_extra_one_line_says_what_to_install(command: str, rest: list[str]) -> None:
    # None in sys.modules is Python's own way to say that a module is not to be had
    script = (
        "import sys; sys.modules['tensorflow'] = None; from helmet_cloud.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command, *DATA, "--weights", "w.npz", *rest],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "helmet-cloud: training is not installed: pip install 'helmet-cloud[train]'\n"


@pytest.mark.training
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "Missing option"),
        (["train", *DATA, "--weights", "w.npz"], "Missing option '--work'"),
        (["train", *DATA, "--weights", "none.npz", "--work", "never"], "no such weights: none.npz"),
        (["train", "--data", "x", "--weights", "w.npz", "--work", "never"], "expected FORMAT:PATH"),
        (
            ["train", *DATA, "--replay", "yolo:none", "--weights", "w", "--work", "never"],
            "no such file or folder: none",
        ),
        (["train", *DATA, "--weights", "w", "--work", "never", "--steps", "0"], "--steps"),
        (["export", *DATA, "--weights", "none.npz", "--out", "never"], "no such weights: none.npz"),
        (["export", *DATA, "--weights", "w.npz"], "Missing option '--out'"),
    ],
)
def test_bad_usage_is_one_line_before_anything_is_written(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.training
def test_no_pictures_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data.txt").touch()
    assert main(["train", "--data", f"sedna:{tmp_path / 'data.txt'}", "--weights", "w", "--work", "never"]) == 2
    assert "no labelled pictures in sedna:" in capsys.readouterr().err


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_round_from_weights_to_a_model_that_can_be_measured(tmp_path: Path) -> None:
    start, work, out = tmp_path / "start.npz", tmp_path / "round", tmp_path / "model"
    script = (
        "import sys; from pathlib import Path; from helmet_cloud.training.network import build_network; "
        "from helmet_cloud.training.export import save_weights; save_weights(build_network(), Path(sys.argv[1]))"
    )
    commands = [
        [sys.executable, "-c", script, str(start)],
        [*cloud(), "train", *DATA, "--weights", str(start), "--work", str(work), "--steps", "1"],
        [*cloud(), "export", *DATA, "--weights", str(work / "weights.npz"), "--out", str(out), "--name", "tried"],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    manifest = load_manifest(out)
    assert (manifest.name, manifest.labels[0]) == ("tried", "person")
    for model in (out, out / "model_float16.tflite"):
        assert main(["evaluate", "--model", str(model), *DATA]) == 0


def cloud() -> list[str]:
    return [sys.executable, "-m", "helmet_cloud.cli"]
