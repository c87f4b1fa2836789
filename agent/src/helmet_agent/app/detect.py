# SPDX-License-Identifier: Apache-2.0
"""``helmet-agent detect``: look at every frame of some sources, one after the other, and print what is there."""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, TextIO

from helmet_agent.adapters.litert import bundled_model_dir, load_model
from helmet_agent.app.sources import open_source
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.contract import ContractError, FrameReport
from helmet_agent.detector import HelmetDetector
from helmet_agent.errors import EXIT_FAILED, EXIT_OK, ManifestError, SourceError
from helmet_agent.logs import configure_logging
from helmet_agent.source_url import SourceSettings
from helmet_agent.vision.mining.registry import create
from helmet_agent.vision.mining.rule import RuleContext

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from helmet_agent.ports import Frame, FrameSource
    from helmet_agent.vision.mining.rule import Rule


def detect(
    addresses: Sequence[str],
    *,
    model: Path | None,
    min_score: float | None,
    threads: int,
    json_lines: bool,
    out: TextIO,
) -> int:
    """Prints the detections of every frame; a source that fails is named on standard error and the next one is tried.

    ``hard`` is the verdict of the manifest's own mining rule on what the manifest's thresholds show, whatever
    ``min_score`` says.

    Raises:
        ModelError: the model cannot be served.
    """
    configure_logging("warning")
    loaded = load_model(model or bundled_model_dir(), threads)
    detector = HelmetDetector(loaded)
    try:
        rule = create(loaded.manifest.mining, random.Random(0).random)  # noqa: S311 - sampling, not security
    except ContractError as error:
        raise ManifestError(f"the model's manifest: {error}") from error
    failed = False
    for address in addresses:
        settings = SourceSettings(name=address, url=address)
        try:
            source = open_source(settings, SystemClock())
            for frame in _frames(source):
                report = _look(detector, rule, frame, min_score)
                print(json.dumps(report.to_json()) if json_lines else _sentence(report), file=out)
            failed = failed or _warn_of_faults(source)
        except SourceError as error:
            sys.stderr.write(f"helmet-agent: {error}\n")
            failed = True
    out.flush()
    return EXIT_FAILED if failed else EXIT_OK


def _frames(source: FrameSource) -> Iterator[Frame]:
    source.open()
    try:
        while (frame := source.read()) is not None:
            yield frame
    finally:
        source.close()


def _look(detector: HelmetDetector, rule: Rule, frame: Frame, min_score: float | None) -> FrameReport:
    manifest = detector.manifest
    thresholds = manifest.thresholds.score
    # One pass at the lowest score anybody asks for: suppression goes from the best box down, so that leaving the weak
    # ones out afterwards gives exactly what a higher threshold would have given.
    floor = min(thresholds.values()) if min_score is None else min(min_score, *thresholds.values())
    every = detector.detect(frame.image, floor)
    shown = tuple(found for found in every if found.score >= thresholds[found.label])
    asked = shown if min_score is None else tuple(found for found in every if found.score >= min_score)
    height, width = frame.image.shape[:2]
    hard = rule.judge(RuleContext(shown, width, height, frame.time_seconds)) is not None
    return FrameReport(frame.source, frame.seq, width, height, manifest.model.sha256, hard, asked)


def _warn_of_faults(source: FrameSource) -> bool:
    faults = getattr(source, "faults", {})
    return any(count for cause, count in faults.items() if cause == "unreadable")


def _sentence(report: FrameReport) -> str:
    seen = ", ".join(
        f"{found.label} {found.score:.2f} at ({', '.join(f'{edge:.0f}' for edge in found.box)})"
        for found in report.detections
    )
    return f"{report.source} frame {report.frame}: {seen or 'nobody'}{' [hard]' if report.hard else ''}"
