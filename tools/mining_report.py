#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what each mining rule takes and what it catches, and writes the tables into docs/mining.md.

    tools/mining_report.py [--model PATH] [--data DIR] [--write]

Labelled frames: the CC BY frames of the tests and, with --data, the validation part of hard_hat_workers and all of
sfchd_cctv. Rules that look at tracks need film and are measured on the clips that come with the agent, without labels.
Each table stands between its own markers; without --data the tables of those data sets stay as they are.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helmet_agent.adapters.clip import Clip
from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.app.system_clock import SystemClock
from helmet_agent.contract import MiningRule
from helmet_agent.errors import AgentError
from helmet_agent.source_url import SourceSettings
from helmet_agent.vision.mining import NearDuplicates, RuleContext, create, dhash
from helmet_agent.vision.tracking import Tracker
from helmet_cloud.evaluation import open_detector
from helmet_cloud.evaluation.matching import TRUE, match_picture
from helmet_cloud.labels import LABELS, LabelledPicture, read_picture, read_yolo
from helmet_cloud.training.sources import NEW_SITE, read_base_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from helmet_agent.contract import Detection
    from helmet_agent.ports import Detector
    from helmet_agent.vision.mining import Rule, Verdict

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "mining.md"
FRAMES = ROOT / "agent" / "tests" / "fixtures" / "frames"
CLIPS = (
    ROOT / "agent" / "src" / "helmet_agent" / "assets" / "clips" / "one-by-one-person-detection.mp4",
    ROOT / "agent" / "src" / "helmet_agent" / "assets" / "clips" / "worker-zone-detection.mp4",
    ROOT / "agent" / "tests" / "fixtures" / "clips" / "veo_generated_workers.mp4",
)
# Hats that nobody wears are labelled in none of these pictures, so nothing can be said about boxes of that label.
JUDGED = frozenset(LABELS) - {"helmet"}
HEADS = ("helmet-on", "helmet-off")
MATCH_IOU = 0.5
DRAWS = 1000
SEED = 20261122
SMALL_BUDGET = 0.1

FRAME_RULES = (
    ("IBT, 0.9 / 0.9 (the seed's job)", MiningRule("IBT", {"threshold_img": "0.9", "threshold_box": "0.9"})),
    ("IBT, 0.5 / 0.5 (Sedna's default)", MiningRule("IBT")),
    ("IBT, 0.5 / 0.4", MiningRule("IBT", {"threshold_img": "0.5", "threshold_box": "0.4"})),
    ("Threshold 0.5", MiningRule("Threshold")),
    ("CrossEntropy 0.5", MiningRule("CrossEntropy")),
    ("HeadConflict", MiningRule("HeadConflict")),
    ("PersonWithoutHead", MiningRule("PersonWithoutHead")),
    ("HeadWithoutPerson", MiningRule("HeadWithoutPerson")),
)
TRACK_RULES = (
    ("TrackLost", MiningRule("TrackLost")),
    ("LabelFlip", MiningRule("LabelFlip")),
    ("ScoreFlicker", MiningRule("ScoreFlicker")),
)


@dataclass(frozen=True)
class Judged:
    """What one rule said about the frames of one set.

    Attributes:
        name: the rule and its parameters, for people.
        values: one per frame; None where the frame was not chosen.
    """

    name: str
    values: tuple[float | None, ...]

    @property
    def chosen(self) -> list[int]:
        """Numbers of the frames it chose."""
        return [index for index, value in enumerate(self.values) if value is not None]


@dataclass(frozen=True)
class FrameSet:
    """Labelled frames, how many mistakes the model makes in each, and what the rules say.

    Attributes:
        name: of the set.
        mistakes: per frame.
        empty: frames in which the model shows nothing.
        judged: one per rule.
    """

    name: str
    mistakes: tuple[int, ...]
    empty: int
    judged: list[Judged] = field(default_factory=list)

    @property
    def wrong(self) -> list[bool]:
        """Per frame: whether there is any mistake in it."""
        return [count > 0 for count in self.mistakes]


def mistakes(picture: LabelledPicture, shown: Sequence[Detection]) -> int:
    """Objects missed, boxes that show nothing, and heads with the wrong label, each counted once.

    A head found with the wrong label is a missed object and a false box by label, but one mistake.
    """
    labels = picture.complete & JUDGED
    missed_or_false = right_heads = 0
    for label in labels:
        found, false, missed = _match(picture, shown, (label,))
        missed_or_false += false + missed
        right_heads += found if label in HEADS else 0
    if not labels.issuperset(HEADS):
        return missed_or_false
    return missed_or_false - max(0, _match(picture, shown, HEADS)[0] - right_heads)


def _match(picture: LabelledPicture, shown: Sequence[Detection], labels: tuple[str, ...]) -> tuple[int, int, int]:
    """(objects found, false boxes, objects missed), any of the labels standing for any other."""
    mine = sorted((one for one in shown if one.label in labels), key=lambda one: -one.score)
    truth = np.array([mark.box for mark in picture.boxes if mark.label in labels], np.float64).reshape(-1, 4)
    regions = [region.box for region in picture.ignore if region.label is None or region.label in labels]
    boxes = np.array([one.box for one in mine], np.float64).reshape(-1, 4)
    outcomes = match_picture(boxes, truth, np.array(regions, np.float64).reshape(-1, 4), np.array([MATCH_IOU]))[0]
    found = int(np.sum(outcomes == TRUE))
    return found, int(np.sum(outcomes == 0)), len(truth) - found


def caught_by_chance(wrong: Sequence[bool], budget: int) -> tuple[float, float, float]:
    """Share of the wrong frames among ``budget`` frames drawn at random: expected, and the middle 90% of the draws."""
    total = sum(wrong)
    if not total:
        return 0.0, 0.0, 0.0
    draw = random.Random(SEED)  # noqa: S311 - a repeatable yardstick
    shares = sorted(sum(draw.sample(wrong, budget)) / total for _ in range(DRAWS))
    return budget / len(wrong), shares[DRAWS // 20], shares[-DRAWS // 20 - 1]


def best_first(judged: Judged, worth: Sequence[float], budget: int) -> float:
    """Sum of ``worth`` over the ``budget`` chosen frames of highest value; of equal values, what chance would take."""
    left, total = float(budget), 0.0
    for value in sorted({value for value in judged.values if value is not None}, reverse=True):
        tied = [worth[index] for index, other in enumerate(judged.values) if other == value]
        share = min(1.0, left / len(tied))
        total += share * sum(tied)
        left -= share * len(tied)
        if left <= 0:
            break
    return total


def judge_pictures(name: str, pictures: Sequence[LabelledPicture], detector: Detector) -> FrameSet:
    """Runs the model and the rules over labelled pictures."""
    rules = [(title, create(rule, random.Random(SEED).random)) for title, rule in FRAME_RULES]  # noqa: S311 - as above
    counts: list[int] = []
    empty = 0
    verdicts: list[list[Verdict | None]] = [[] for _ in rules]
    for number, picture in enumerate(pictures):
        shown = detector.infer(detector.prepare(read_picture(picture.path)))
        empty += not shown
        counts.append(mistakes(picture, shown))
        context = RuleContext(shown, picture.width, picture.height)
        for (_, rule), said in zip(rules, verdicts, strict=True):
            said.append(rule.judge(context))
        _progress(name, number + 1, len(pictures))
    judged = [
        Judged(title, tuple(None if verdict is None else verdict.value for verdict in said))
        for (title, _), said in zip(rules, verdicts, strict=True)
    ]
    own = range(5, len(judged))
    every = (max((v for k in own if (v := judged[k].values[i]) is not None), default=None) for i in range(len(counts)))
    judged.append(Judged("any of the three above", tuple(every)))
    return FrameSet(name, tuple(counts), empty, judged)


def frame_table(frames: FrameSet) -> str:
    """The table of one labelled set."""
    count, wrong = len(frames.mistakes), frames.wrong
    base, mean = _percent(sum(wrong) / count), f"{sum(frames.mistakes) / count:.2f}"
    small = max(1, round(SMALL_BUDGET * count))
    intro = (
        f"**{frames.name}**: {count} frames, {sum(wrong)} of them ({base}) with a real error, {mean} mistakes a frame; "
        f"in {frames.empty} the model shows nothing. {_seed_rule(len(frames.judged[0].chosen), count - frames.empty)}"
    )
    columns = (
        "rule",
        "frames chosen",
        "error frames caught",
        "by chance at that budget (90% of draws)",
        "chosen frames with an error",
        "mistakes a chosen frame",
        f"mistakes a frame, best {small} only",
    )
    lines = [intro, "", f"| {' | '.join(columns)} |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    lines += [f"| {judged.name} | {' | '.join(_cells(frames, judged, small))} |" for judged in frames.judged]
    lines.append(f"| *chance* | | | | *{base}* | *{mean}* | *{mean}* |")
    return "\n".join(lines) + "\n"


def _cells(frames: FrameSet, judged: Judged, small: int) -> list[str]:
    count, wrong, chosen = len(frames.mistakes), frames.wrong, judged.chosen
    if not chosen:
        return ["0% (0)", *["-"] * 5]
    hits = sum(wrong[index] for index in chosen)
    expected, low, high = caught_by_chance(wrong, len(chosen))
    top = min(small, len(chosen))
    return [
        f"{_percent(len(chosen) / count)} ({len(chosen)})",
        _percent(hits / max(1, sum(wrong))),
        f"{_percent(expected)} ({_percent(low)} to {_percent(high)})",
        _percent(hits / len(chosen)),
        f"{sum(frames.mistakes[index] for index in chosen) / len(chosen):.2f}",
        f"{best_first(judged, frames.mistakes, top) / top:.2f}",
    ]


def clip_rows(path: Path, detector: Detector, rules: Sequence[tuple[str, Rule]]) -> list[str]:
    """One column of the clip table: what the seed's rule takes, the head of the column, and what each rule takes."""
    clip = Clip(SourceSettings(path.stem, str(path)), SystemClock())
    clip.open()
    tracker = Tracker()
    memory = [NearDuplicates() for _ in rules]
    taken, kept = [0] * len(rules), [0] * len(rules)
    frames = seen = 0
    while (frame := clip.read()) is not None:
        frames += 1
        height, width = frame.image.shape[:2]
        shown = detector.infer(detector.prepare(frame.image))
        seen += bool(shown)
        context = RuleContext(shown, width, height, frame.time_seconds, tracker.update(shown, frame.time_seconds))
        picture = dhash(frame.image)
        for index, (_, rule) in enumerate(rules):
            if rule.judge(context) is not None:
                taken[index] += 1
                if not memory[index].seen(path.stem, picture, 0.0):
                    memory[index].remember(path.stem, picture, 0.0)
                    kept[index] += 1
        _progress(path.stem, frames, 0)
    clip.close()
    cells = [f"{_percent(some / frames)} ({some}), {left}" for some, left in zip(taken, kept, strict=True)]
    seed = f"{path.stem}: {_seed_rule(taken[len(TRACK_RULES)], seen)}"
    return [seed, f"{path.stem}, {frames} frames", *cells]


def clip_table(detector: Detector, clips: Iterable[Path]) -> str:
    """What every rule takes of the clips: frames chosen, and how many of them are no near-duplicates."""
    draw = random.Random(SEED).random  # noqa: S311 - as above
    rules = [(title, create(rule, draw)) for title, rule in (*TRACK_RULES, *FRAME_RULES)]
    columns = [clip_rows(path, detector, rules) for path in clips]
    lines = [f"- {column[0]}" for column in columns]
    lines += ["", "| rule | " + " | ".join(column[1] for column in columns) + " |", "|---|" + "---:|" * len(columns)]
    for index, (title, _) in enumerate(rules):
        lines.append(f"| {title} | " + " | ".join(column[index + 2] for column in columns) + " |")
    return "\n".join(lines) + "\n"


def _seed_rule(taken: int, of: int) -> str:
    return f"IBT at 0.9 / 0.9 takes {taken} of the {of} frames in which it shows anything."


def replace_block(page: str, name: str, content: str) -> str:
    """The page with the text between the markers of a block replaced.

    Raises:
        ValueError: the page has no such markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"expected {begin} and {end} once each, in this order")
    return page[: page.index(begin) + len(begin)] + f"\n\n{content.strip()}\n\n" + page[page.index(end) :]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _progress(name: str, done: int, of: int) -> None:
    if sys.stderr.isatty() and done % 10 == 0:
        print(f"\r{name}: {done}{f' of {of}' if of else ''}   ", end="", file=sys.stderr)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=bundled_model_dir(), help="folder with manifest.json")
    parser.add_argument("--data", type=Path, help="the folder that `make model DATA=` takes")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/mining.md")
    options = parser.parse_args()
    try:
        detector = open_detector(options.model)
        manifest = detector.manifest
        about = (
            f"Model `{manifest.name}`, sha256 `{manifest.model.sha256[:12]}`, at its manifest's score thresholds.\n\n"
        )
        blocks = {
            "fixture frames": about
            + frame_table(
                judge_pictures("CC BY frames of the tests", read_yolo(FRAMES, complete=JUDGED).pictures, detector)
            ),
            "clips": about + clip_table(detector, CLIPS),
        }
        if options.data:
            base = read_base_data(options.data, lambda line: print(line, file=sys.stderr))
            sets = (
                ("hard_hat_workers, validation part", base.validation),
                ("sfchd_cctv, a site never trained on", base.measured[NEW_SITE]),
            )
            blocks["data sets"] = about + "\n".join(
                frame_table(judge_pictures(name, pictures, detector)) for name, pictures in sets
            )
        for name, content in blocks.items():
            print(f"\n## {name}\n\n{content}")
            if options.write:
                PAGE.write_text(replace_block(PAGE.read_text(), name, content))
    except (AgentError, ValueError) as error:
        print(f"mining_report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
