# SPDX-License-Identifier: Apache-2.0
"""``helmet-agent detect`` as people and scripts use it: a process, its output, its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
FRAMES = FIXTURES / "frames" / "images"
LABELS = FIXTURES / "frames" / "labels"
NAMES = ("person", "helmet", "helmet-on", "helmet-off")


def detect(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "helmet_agent", "detect", *map(str, arguments))
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def reports(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def overlap(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def labelled(stem: str, label: str) -> list[list[float]]:
    found = []
    for line in (LABELS / f"{stem}.txt").read_text().splitlines():
        number, x, y, w, h = (float(part) for part in line.split())
        if NAMES[int(number)] == label:
            found.append([(x - w / 2) * 640, (y - h / 2) * 360, (x + w / 2) * 640, (y + h / 2) * 360])
    return found


def test_a_folder_gives_one_object_a_picture_in_the_promised_form() -> None:
    done = detect("--json", FRAMES)
    assert done.returncode == 0
    found = reports(done)
    assert [Path(report["source"]).name for report in found] == sorted(path.name for path in FRAMES.iterdir())
    assert [report["frame"] for report in found] == list(range(20))
    for report in found:
        assert list(report) == ["source", "frame", "width", "height", "model", "hard", "detections"]
        assert (report["width"], report["height"]) == (640, 360)
        assert len(report["model"]) == 64
        for one in report["detections"]:
            assert list(one) == ["label", "score", "box"]
            assert one["label"] in NAMES
            assert 0 <= one["box"][0] < one["box"][2] <= 640
            assert 0 <= one["box"][1] < one["box"][3] <= 360
        scores = [one["score"] for one in report["detections"]]
        assert scores == sorted(scores, reverse=True)


def test_the_bundled_model_finds_most_of_the_helmets_that_people_drew() -> None:
    wanted = hit = 0
    for report in reports(detect("--json", FRAMES)):
        stem = Path(report["source"]).stem
        boxes = [one["box"] for one in report["detections"] if one["label"] == "helmet-on"]
        for truth in labelled(stem, "helmet-on"):
            wanted += 1
            hit += any(overlap(truth, box) >= 0.5 for box in boxes)
    assert wanted == 8
    assert hit >= 6


def test_min_score_shows_exactly_what_reaches_it() -> None:
    everything = reports(detect("--json", "--min-score", "0.02", FRAMES))
    strict = reports(detect("--json", "--min-score", "0.6", FRAMES))
    for all_of_it, some in zip(everything, strict, strict=True):
        assert some["detections"] == [one for one in all_of_it["detections"] if one["score"] >= 0.6]
        assert some["hard"] == all_of_it["hard"], "hard is judged at the manifest's thresholds, whatever is shown"
    assert sum(len(report["detections"]) for report in everything) > sum(len(report["detections"]) for report in strict)


def test_plain_output_is_a_sentence_a_frame_and_nothing_else_is_on_standard_output() -> None:
    done = detect(FRAMES / "worker_zone_0080.jpg")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert "frame 0: " in done.stdout
    assert "helmet-on 0." in done.stdout


def test_a_source_that_fails_is_named_and_the_others_are_still_looked_at(tmp_path: Path) -> None:
    done = detect("--json", tmp_path / "gone.mp4", FRAMES / "worker_zone_0080.jpg")
    assert done.returncode == 1
    assert len(reports(done)) == 1
    assert f"helmet-agent: {tmp_path / 'gone.mp4'}: no such file" in done.stderr
    assert "Traceback" not in done.stderr


def broken(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a video\n" * 100)
    elif kind == "cut":
        clip = Path(__file__).resolve().parents[2] / "src/helmet_agent/assets/clips/worker-zone-detection.mp4"
        path.write_bytes(clip.read_bytes()[:5000])
    else:
        path.mkdir()
        (path / "a.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "folder"])
def test_what_is_no_video_gives_one_clear_line(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path, kind)
    done = detect("--json", path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreadable_picture_in_a_folder_is_named_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes((FRAMES / "worker_zone_0080.jpg").read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff no picture")
    cv2.imwrite(str(tmp_path / "c.png"), np.zeros((40, 60, 3), np.uint8))
    done = detect("--json", tmp_path)
    assert [Path(report["source"]).name for report in reports(done)] == ["a.jpg", "c.png"]
    assert "b.jpg" in done.stderr
    assert done.returncode == 1, "something was left out, and a script must notice"


@pytest.mark.parametrize(
    "arguments",
    [("--min-score", "1.5", "x"), ("--min-score", "nan", "x"), (), ("--threads", "0", "x"), ("--bogus", "x")],
)
def test_bad_usage_is_exit_code_2_with_a_usage_line(arguments: tuple[str, ...]) -> None:
    done = detect(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    command = f"{sys.executable} -m helmet_agent detect --json {FRAMES} | head -n 1"
    done = subprocess.run(("sh", "-c", command), capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
