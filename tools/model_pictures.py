#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what docs/model-card.md shows of the bundled model: its precision-recall curves, and what it sees in the clips.

    tools/model_pictures.py [--into docs/images]

The curves are those of docs/model-validation.json, which `make model` writes: the int8 file on the validation part.
The contact sheet is made here and now by the agent's own detector, at the shipped thresholds; nobody chose its frames,
they lie evenly over both clips.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demo"))

from helmet_agent.adapters.litert import bundled_model_dir  # noqa: E402 - the demo is no installed package
from helmet_agent.durable import write_atomic  # noqa: E402 - as above
from helmet_agent.vision.drawing import draw_detections  # noqa: E402 - as above
from helmet_cloud.evaluation import EvaluationReport, open_detector  # noqa: E402 - as above
from helmet_demo.frames import read_frames  # noqa: E402 - as above

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPORT = ROOT / "docs" / "model-validation.json"
CURVES, SHEET, PAIR = "model-precision-recall.svg", "model-clips.jpg", "detection.jpg"
PAIR_FRAMES = {"worker-zone-detection.mp4": 56, "one-by-one-person-detection.mp4": 290}
"""A hat worn and a head bare: the README's picture."""
CLIP_FRAMES = {"worker-zone-detection.mp4": 122, "one-by-one-person-detection.mp4": 1394}
CELLS, COLUMNS, WIDTH, QUALITY = 12, 4, 400, 80
# The colours of the agent's own drawings (Okabe and Ito), the grey of persons darkened for white paper.
COLOURS = {"person": "#5f5f5f", "helmet": "#b8a400", "helmet-on": "#0072b2", "helmet-off": "#d55e00"}
_FILE_MODE = 0o644


def draw_curves(report: EvaluationReport, path: Path) -> None:
    """Precision over recall of each measured class, a dot where the shipped threshold is."""
    mpl.rcParams["svg.hashsalt"] = "helmet"  # else every drawing has other ids
    mpl.rcParams["svg.fonttype"] = "none"
    figure, axes = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
    for label, points in report.curves.items():
        figures = report.per_class[label]
        recall, precision = [point.recall for point in points], [point.precision for point in points]
        name = f"{label}: AP {figures.ap50:.3f}, threshold {figures.threshold:g}"
        axes.plot(recall, precision, color=COLOURS[label], label=name)
        axes.plot(figures.recall, figures.precision, "o", color=COLOURS[label])
    axes.set(xlabel="recall", ylabel="precision", xlim=(0.0, 1.0), ylim=(0.0, 1.02))
    axes.set_title(f"int8, {report.pictures} validation pictures, IoU 0.5; dots: at the thresholds", fontsize=10)
    axes.grid(color="#dddddd")
    axes.legend(loc="lower left")
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def contact_sheet() -> NDArray[np.uint8]:
    """Frames of both clips, evenly spread, with all that the shipped model says of them: uint8, BGR.

    Raises:
        AgentError: model or clip is missing or damaged.
    """
    detector = open_detector(bundled_model_dir())
    cells: list[NDArray[np.uint8]] = []
    for file, count in CLIP_FRAMES.items():
        wanted = [round((place + 0.5) * count / CELLS) for place in range(CELLS)]
        for number, image in read_frames(file, wanted):
            size = (WIDTH, round(image.shape[0] * WIDTH / image.shape[1]))
            seen = detector.infer(detector.prepare(image))
            cell = cv2.resize(draw_detections(image, seen), size, interpolation=cv2.INTER_AREA)
            cv2.putText(cell, str(number), (6, size[1] - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.putText(
                cell, str(number), (6, size[1] - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
            )
            cells.append(np.asarray(cell, np.uint8))
    height = max(cell.shape[0] for cell in cells)
    even = [np.pad(cell, ((0, height - cell.shape[0]), (0, 0), (0, 0))) for cell in cells]
    rows = [np.hstack(even[first : first + COLUMNS]) for first in range(0, len(even), COLUMNS)]
    return np.asarray(np.vstack(rows), np.uint8)


def pair() -> NDArray[np.uint8]:
    """The two frames of the README side by side, with what the shipped model says of them: uint8, BGR.

    Raises:
        AgentError: model or clip is missing or damaged.
    """
    detector = open_detector(bundled_model_dir())
    halves = []
    for file, wanted in PAIR_FRAMES.items():
        for _, image in read_frames(file, [wanted]):
            drawn = draw_detections(image, detector.infer(detector.prepare(image)))
            halves.append(cv2.resize(drawn, (2 * WIDTH, 2 * WIDTH * 9 // 16), interpolation=cv2.INTER_AREA))
    return np.asarray(np.hstack(halves), np.uint8)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "images", help="folder (default: docs/images)")
    into = parser.parse_args().into
    draw_curves(EvaluationReport.from_json(json.loads(REPORT.read_text())), into / CURVES)
    for name, picture in ((SHEET, contact_sheet()), (PAIR, pair())):
        _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        write_atomic(into / name, content.tobytes(), mode=_FILE_MODE)
    print("\n".join(str(into / name) for name in (CURVES, SHEET, PAIR)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
