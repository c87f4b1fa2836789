# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmet_agent.contract import Detection, ExampleRecord
from helmet_cloud.cli import main
from helmet_cloud.examples.service import HubExamples
from helmet_cloud.settings import HubHome
from helmet_cloud.store.opening import open_database
from helmet_cloud.store.resources import ResourceStore

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A hub with the Dataset default/site and one example."""
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "hub.toml").write_text(f'rootfs = "{tmp_path}/rootfs"\n')
    home = HubHome.load(folder)
    database = open_database(home)
    ResourceStore(database).create(
        {
            "apiVersion": "sedna.io/v1alpha1",
            "kind": "Dataset",
            "metadata": {"namespace": "default", "name": "site"},
            "spec": {"url": "/data/site.txt", "format": "txt", "nodeName": "hub"},
        }
    )
    jpeg = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    seen = (Detection("helmet-off", 0.4, (1.0, 2.0, 30.0, 40.0)),)
    sha256 = hashlib.sha256(jpeg).hexdigest()
    record = ExampleRecord(sha256, "edge-1", "gate", 1, 2.0, 64, 48, "0" * 64, "IBT", 0.5, seen)
    examples = HubExamples(home, database, reserve_bytes=0)
    body = json.dumps(record.to_json()).encode() + b"\n" + jpeg
    assert examples.ingest.submit(sha256, body, lambda _node: True).result(30).new
    examples.close()
    database.close()
    return folder


def run(*arguments: object) -> int:
    return main(["labels", *map(str, arguments)])


def test_out_to_label_studio_and_back_into_the_data_set(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    tasks = tmp_path / "tool" / "tasks.json"
    assert run("export", "--data-dir", folder, "--state", "pending", "labelstudio", tasks) == 0
    assert capsys.readouterr().out == f"wrote {tasks}: 1 pictures (0 with nothing in them): 1 helmet-off\n"
    document = json.loads(tasks.read_text())
    back = ("import", "--data-dir", folder, "--dataset", "default/site", "labelstudio", tasks)
    assert run(*back) == 0
    assert "0 pictures added, 0 changed, 0 were there; 1 not labelled yet" in capsys.readouterr().out
    document[0]["annotations"] = [{"result": document[0]["predictions"][0]["result"]}]
    tasks.write_text(json.dumps(document))
    assert run(*back) == 0
    assert "1 pictures added, 0 changed, 0 were there\n" in capsys.readouterr().out
    (line,) = (tmp_path / "rootfs/data/site.txt").read_text().splitlines()
    assert line.endswith(".jpg 1,2,30,40,3")
    assert run("export", "--data-dir", folder, "--state", "labelled", "coco", tmp_path / "o" / "l.json") == 0
    assert run("check", f"coco:{tmp_path / 'o' / 'l.json'}") == 0
    capsys.readouterr()
    assert run("export", "--data-dir", folder, "labelstudio", tmp_path / "again.json") == 2
    assert "no example is pending" in capsys.readouterr().err


def test_a_refused_import_names_every_reason_and_imports_nothing(
    folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("none.jpg 1,2,3,4,0\nother.jpg 1,2\n")
    assert run("import", "--data-dir", folder, "--dataset", "default/site", "sedna", labels) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{labels}:1", f"{labels}:2", "helmet-cloud"]
    assert lines[-1] == "helmet-cloud: 2 problems in the labels; nothing was imported"
    assert not (tmp_path / "rootfs").exists()


def test_the_pages_commands_work_as_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs/labels.md").read_text()
    (block,) = re.findall(r"^```\n(helmet-cloud examples.*?)^```", page, re.DOTALL | re.MULTILINE)
    home = HubHome.load(folder)
    database = open_database(home)
    dataset = ResourceStore(database).get("Dataset", "default", "site")
    ResourceStore(database).create({**dataset, "metadata": {"namespace": "default", "name": "incremental-dataset"}})
    database.close()
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        if " import " in line:
            tasks = json.loads((tmp_path / "tool/tasks.json").read_text())
            tasks[0]["annotations"] = [{"result": []}]
            (tmp_path / "tool/tasks.json").write_text(json.dumps(tasks))
        assert main(shlex.split(line)[1:]) == 0, line
    assert (tmp_path / "rootfs/data/site.txt").read_text().endswith(".jpg\n")
    assert (tmp_path / "everything/labels.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "--data-dir", "HUB", "coco", "x.json"], "say --dataset NAMESPACE/NAME"),
        (["import", "--data-dir", "HUB", "--dataset", "a/b", "coco", "x.json", "d.txt"], "no DATASET file"),
        (["import", "--data-dir", "HUB", "--dataset", "site", "coco", "x.json"], "expected NAMESPACE/NAME"),
        (["import", "--dataset", "a/b", "coco", "x.json"], "Missing argument 'DATASET'"),
        (["import", "--data-dir", "HUB", "--dataset", "a/b", "pascal", "x"], "unknown format 'pascal'"),
        (["export", "--data-dir", "HUB", "coco", "a", "b"], "expected one path"),
        (["export", "--data-dir", "HUB", "--state", "new", "coco", "a"], "--state: expected pending or labelled"),
        (["export", "coco", "a"], "Missing argument 'TARGET'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    folder: Path, arguments: list[str], message: str, capsys: Captured
) -> None:
    assert run(*(str(folder) if one == "HUB" else one for one in arguments)) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
