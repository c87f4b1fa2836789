# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from helmet_cloud.cli import main

SEED = Path(__file__).resolve().parents[3] / "demo" / "seed"

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """The seed's job with its variables filled."""
    path = tmp_path / "job.yaml"
    path.write_text((SEED / "job.yaml").read_text().replace("$WORKER_NODE", "node1").replace("$IMAGE", "image:1"))
    return path


def lint(*arguments: object) -> int:
    return main(["jobs", "lint", *map(str, arguments)])


def test_the_seeds_job_can_be_sent_and_draws_warnings(seed: Path, capsys: Captured) -> None:
    assert lint(seed, "--zone", "Europe/Berlin") == 0
    out, err = capsys.readouterr()
    assert out == f"{seed}:1: IncrementalLearningJob helmet-detection-demo: can be sent\n"
    # Read as YAML 1.1: what Ansible would send.
    assert "warning: spec.trainSpec.trigger.timer.end: the number 1200 is taken for 20:00" in err
    assert "in the hub's zone, Europe/Berlin" in err
    assert "DirectoryOrCreate" in err
    assert lint(seed, "--strict") == 1


def test_faults_are_named_by_file_document_and_field(seed: Path, capsys: Captured) -> None:
    dataset = (
        "apiVersion: sedna.io/v1alpha1\nkind: Dataset\nmetadata: {name: D}\nspec: {url: a, format: txt, nodeName: n}\n"
    )
    pod = "kind: Pod\n"
    seed.write_text(f"{dataset}---\n{seed.read_text().replace('trainProb: 0.8', 'trainProb: 8')}---\n{pod}")
    assert lint(seed) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith(f"{seed}:1: Dataset D: metadata.name: Invalid value")
    assert lines[1].startswith(f"{seed}:1: Dataset D: spec.url: Invalid value") or "metadata.name" in lines[0]
    assert any(":6: IncrementalLearningJob helmet-detection-demo: spec.dataset.trainProb" in line for line in lines)
    assert any('Pod : kind: Unsupported value: "Pod"' in line for line in lines)


def test_a_misspelt_field_is_refused(seed: Path, capsys: Captured) -> None:
    seed.write_text(seed.read_text().replace("outputDir", "outputdir"))
    assert lint(seed) == 1
    assert 'unknown field "spec.outputdir"; did you mean outputDir?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no manifest"),
        ("a: [", "is no YAML"),
        ("a: &x 1\nb: *x\n", "line 2: aliases are not read"),
        ("[" * 500, "nested deeper"),
        ("- 1\n- 2\n", "Unsupported value: null"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, capsys: Captured, content: str, said: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(content)
    assert lint(path) == 1
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there_or_too_large_is_bad_usage(tmp_path: Path, capsys: Captured) -> None:
    assert lint(tmp_path / "none.yaml") == 2
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * ((3 << 20) + 1))
    assert lint(big) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "No such file" in err
    assert "more than 3145728 bytes" in err
