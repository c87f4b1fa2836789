# SPDX-License-Identifier: Apache-2.0
"""The main job as the README has it: provision this machine, run the installed agent, close the loop, look at it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from helmet_demo.loop import STAGES

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

LOOP = "==> helmet-cloud init, serve"

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
    node = demo[1].partition(LOOP)[0].splitlines()
    rows = {row[0]: row[1:] for line in node if (row := line.split()) and row[0] in {"gate", "walkway"}}
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


def test_the_seeds_manifests_are_accepted_and_the_job_waits(demo: tuple[Path, str]) -> None:
    seed = demo[1].partition(LOOP)[2].partition("phase 2")[0]
    for name in ("dataset", "model", "incrementallearningjob"):
        assert re.search(rf"^    {name}\.sedna\.io/\S+ created$", seed, re.MULTILINE)
    assert "'DirectoryorCreate' is no type that Kubernetes knows" in seed
    assert re.search(r"helmet-detection-demo +Train +Waiting +False +0 of 500 samples", seed)


def test_every_stage_of_the_loop_is_passed_in_order(demo: tuple[Path, str]) -> None:
    loop = demo[1].partition("phase 2")[2]
    assert "trainSpec.trigger.threshold" in loop, "the differences to the seed's job"
    ends = re.findall(r"^ *\d+ s  ([✓✗]) (\S+(?: \S+)?)", loop, re.MULTILINE)
    assert {mark for mark, _ in ends} == {"✓"}
    order = [name for _, name in ends]
    assert sorted(order) == sorted(STAGES)
    round_ = [name for name in order if name in STAGES[2:]]
    assert round_ == list(STAGES[2:])
    assert re.search(r"✓ gate +accepted: .*recall_delta\[helmet-off\] \+0\.\d+", loop)


def test_the_new_model_is_better_where_nothing_was_trained_and_no_frame_was_lost(demo: tuple[Path, str]) -> None:
    end = demo[1].partition("the held-back passages")[2]
    old, new = re.search(r"^recall of helmet-off +(\S+) +(\S+)", end, re.MULTILINE).groups()  # type: ignore[union-attr]
    assert float(new) > float(old) + 0.1
    models = re.findall(r"detections by ([0-9a-f]{12}): (\d+) frames", end)
    assert len({model for model, _ in models}) == 2, "one before, one after"
    assert all(int(frames) > 20 for _, frames in models)
    assert "frames lost in the swap: 0" in end


def processes_of(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{folder}/" in words:
            found.append(words)
    return found


def test_nothing_is_left_running(demo: tuple[Path, str]) -> None:
    assert processes_of(demo[0].parent) == []


def test_ctrl_c_ends_everything(demo: tuple[Path, str]) -> None:
    out = demo[0].parent
    command = (sys.executable, "-m", "helmet_demo", str(out))
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT / "demo"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if " plays " in line:
                break
        assert processes_of(out), "hub and agent run"
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
    assert running.returncode == 130
    assert "everything that was started has ended" in rest
    time.sleep(1.0)
    assert processes_of(out) == []
