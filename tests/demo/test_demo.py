# SPDX-License-Identifier: Apache-2.0
"""The main job as the README has it: provision this machine, run the installed agent, look at what it leaves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        ("demo/run", str(out)), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=850, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return out / "node", done.stdout


def test_it_closes_with_a_table_of_what_was_seen(demo: tuple[Path, str]) -> None:
    rows = {row[0]: row[1:] for line in demo[1].splitlines() if (row := line.split()) and row[0] in {"gate", "walkway"}}
    assert [rows["gate"][0], rows["walkway"][0]] == ["122", "1394"], "every frame was looked at"
    gate_on, walkway_off = int(rows["gate"][3]), int(rows["walkway"][4])
    assert gate_on > 40, "the worker's hat was seen"
    assert walkway_off > 300, "bare heads were seen"
    assert int(rows["walkway"][5]) >= 1, "a violation was reported"


def test_it_leaves_annotated_videos_events_and_hard_examples(demo: tuple[Path, str]) -> None:
    node = demo[0]
    for name, frames in (("gate", 122), ("walkway", 1394)):
        video = cv2.VideoCapture(str(node / "results" / f"annotated-{name}.mp4"))
        assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == frames
    events = [json.loads(line) for line in (node / "var/lib/helmet-agent/events/events.jsonl").read_text().splitlines()]
    started = [event for event in events if event["kind"] == "violation_started"]
    assert started
    assert len(events) == 2 * len(started), "every violation that started has ended"
    for event in started:
        assert (node / "var/lib/helmet-agent/events/snapshots" / event["snapshot"]).stat().st_size > 1000
    examples = list((node / "incremental_learning" / "he").glob("*.jpeg"))
    assert examples
    assert all(path.with_suffix(".json").is_file() for path in examples)


def test_the_second_run_of_the_playbook_changes_nothing(demo: tuple[Path, str]) -> None:
    command = ("ansible-playbook", "site.yml", "--extra-vars", f"edge_node_root={demo[0]}")
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"localhost\s*: ok=\d+\s+changed=0\s", done.stdout), done.stdout[-2000:]


def test_the_commands_of_the_quickstart_are_those_that_ran(demo: tuple[Path, str]) -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text()
    shown = re.search(r"^demo-output/node/(\S+) run --config demo-output/node/(\S+) --until-eof$", page, re.MULTILINE)
    assert shown is not None
    assert f"{demo[0]}/{shown[1]} run --config {demo[0]}/{shown[2]} --until-eof" in demo[1]
    for path in re.findall(r"^\| `demo-output/node/([^`*]+?)/?(?:[^`/]*\*[^`]*)?` \|", page, re.MULTILINE):
        assert (demo[0] / path).exists(), path
