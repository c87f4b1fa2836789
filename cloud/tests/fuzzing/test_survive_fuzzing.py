# SPDX-License-Identifier: Apache-2.0
"""Strangers' bytes: parsers under coverage-guided fuzzing; one minute for all of them, ten in the long setting."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from helmet_agent.adapters.litert import bundled_model_dir

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 150 if os.environ.get("HELMET_SOAK") else 12
LEAST_RUNS = 200
KEY = "a" * 64
BASE = {"key": KEY, "sha256": "b" * 64, "release": 1}
NEW = {"key": "c" * 64, "sha256": "d" * 64, "release": 2, "job": "default/demo"}

pytestmark = [pytest.mark.survive, pytest.mark.timeout(SECONDS * 3 + 120)]


def manifests() -> dict[str, bytes]:
    whole = (bundled_model_dir() / "manifest.json").read_bytes()
    report = {"node": "n", "time_seconds": 1.0, "agent": "1", "state": "idle", "problems": []}
    return {"bundled": whole, "report": json.dumps(report).encode(), "deep": b'{"report":' + b'{"a":' * 200}


def journals() -> dict[str, bytes]:
    state = {"current": BASE, "history": [BASE], "phase": "idle", "floors": [], "crashes": [], "quarantined": []}
    steps = [{"event": "offered", "time": 1.0, "model": NEW}]
    steps += [{"event": kind, "time": 2.0} for kind in ("downloading", "verified", "installed", "probing", "live")]
    ends = [{"event": "quarantined", "time": 3.0, "reason": "x"}, {"event": "confirmed", "time": 3.0}]
    lines = [json.dumps(line).encode() + b"\n" for line in ({"state": state}, *steps)]
    return {f"life-{n}": b"".join(lines) + json.dumps(end).encode() + b"\n" for n, end in enumerate(ends)}


def label_files() -> dict[str, bytes]:
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}],
    }
    box = {"x": 1, "y": 2, "width": 30, "height": 40, "rectanglelabels": ["person"], "rotation": 0}
    result = {"type": "rectanglelabels", "original_width": 64, "original_height": 48, "value": box}
    studio = [{"data": {"image": "a.jpg"}, "annotations": [{"result": [result]}]}]
    return {
        "sedna": b"sedna\na.jpg 1,2,30,40,0 2,3,9,9,1\n",
        "yolo": b"yolo\n0 0.5 0.5 0.25 0.25\n1 0.2 0.2 0.1 0.1\n",
        "coco": b"coco\n" + json.dumps(coco).encode(),
        "labelstudio": b"labelstudio\n" + json.dumps(studio).encode(),
    }


def resources() -> dict[str, bytes]:
    found = {
        path.stem: b"a=b,c in (d,e),!f\n" + path.read_bytes() for path in sorted((ROOT / "demo/seed").glob("*.yaml"))
    }
    assert len(found) == 4
    model = {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "m"},
        "spec": {"url": "/m", "format": "pb"},
    }
    patch = [{"op": "add", "path": "/a/b/0", "value": 1}, {"op": "move", "from": "/a", "path": "/c"}]
    return found | {
        "json": b"metadata.name=a\n" + json.dumps(model).encode(),
        "patch": b"x!=y\n" + json.dumps(patch).encode(),
    }


SEEDS: dict[str, Callable[[], dict[str, bytes]]] = {
    "manifest": manifests,
    "journal": journals,
    "labels": label_files,
    "kube": resources,
}


@pytest.mark.parametrize("parser", SEEDS)
def test_no_bytes_break_a_parser(parser: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    seeds, found = tmp_path / "seeds", tmp_path / "found"
    seeds.mkdir()
    found.mkdir()
    for name, content in SEEDS[parser]().items():
        (seeds / name).write_bytes(content)
    assert cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((48, 64, 3), np.uint8))
    command = [
        sys.executable,
        str(Path(__file__).with_name("targets.py")),
        parser,
        str(seeds),
        str(found),
        str(SECONDS),
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment)
    broken = [f"{path.name}: {path.read_bytes()[:400]!r}" for path in found.iterdir()]
    assert (done.returncode, broken) == (0, []), f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    runs = re.findall(r"Done (\d+) runs in (\d+) second", done.stderr)
    assert runs
    assert int(runs[-1][0]) > LEAST_RUNS
    record_property("survive", f"item 9: {parser} fuzzed {int(runs[-1][0])} times in {runs[-1][1]} s")
