# SPDX-License-Identifier: Apache-2.0
"""The model's card and licence notes, written from what was really done and measured."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_cloud.training.bundle import HIGHEST_SCORE
from helmet_cloud.training.sources import COMPLETE, FIXTURE, HEADS_ONLY, NEW_SITE, Source
from helmet_cloud.training.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helmet_agent.contract import ModelManifest
    from helmet_cloud.evaluation import ClassFigures, EvaluationReport
    from helmet_cloud.training.cycles import Cycle

TITLES = {
    COMPLETE: "hard_hat_workers, validation part (persons and heads)",
    HEADS_ONLY: "hard_hat_workers, validation part (heads only)",
    NEW_SITE: "sfchd_cctv (a site never trained on)",
    FIXTURE: "clean_ccby_fixture (two indoor clips, never trained on)",
}

ORIGINS = """\
- **hard_hat_workers**: "Hardhat", L. Xie, Northeastern University (China), Harvard Dataverse, doi:10.7910/DVN/7CBGOS,
  stated CC0; as joseph-nelson/hard-hat-workers re-exported it ("Public Domain"). Boxes of heads come with it.
  Person boxes of the complete part: arXiv:2106.10944, **no licence stated**.
- **sfchd_cctv**: SFCHD (Yu, Li and others, HUST), cameras of a chemical plant; published openly, **no licence stated**.
- **clean_ccby_fixture**: frames of Intel's sample-videos, CC BY 4.0, labelled for this project.
- Start weights: YOLOX-nano on COCO (Megvii), Apache-2.0."""

RIGHTS = """\
**Pictures and person boxes of uncertain rights.** The hard_hat_workers pictures were collected from the web: many carry
marks of news sites and picture agencies, and show people who were hardly asked. The depositor's CC0 can hardly cover
those. None of the pictures is part of this repository, and none can be got back from the weights in any practical way,
but whoever ships a product on this model should decide about its training data, or train anew on pictures of their own
(`make model DATA=...`). To train without the unlicensed person boxes: `--leave-out-person`."""

LIMITS = """\
- Small objects are the limit: at 640x352 a head under about 10 px, or a person under about 30 px, is mostly missed.
  Put cameras where heads are 15 px or more at that size.
- Bare heads under long hair, seen from behind, are mostly passed over: the demo's round is about them.
- The class `helmet` (a hard hat that nobody wears) has no training data yet and never fires.
- Caps, hoods and bump caps count as `helmet-off`, as the training labels do.
- Heads of small distant people are only partly labelled in hard_hat_workers: its figures for them are pessimistic,
  and the model learned to be shy with them.
- Learned mostly from daylight pictures of building sites in China, with helmets in strong colours. How well it does on
  other sites, at night, and for different groups of people was not measured.
- It finds helmets; it does not make a site safe. Do not use it to identify or to punish people."""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card tells.

    Attributes:
        manifest: of the finished model.
        cycles: how it was trained.
        seconds: training time of each cycle.
        trained, validated: numbers of pictures.
        start_digest: sha256 of the start weights' file.
        sizes: bytes by file name.
        int8, floating: figures by source, of the shipped file and of its float16 twin.
        validation: the same two on the whole validation part at once.
        note: what else there is to know about the training; may be empty.
    """

    manifest: ModelManifest
    cycles: Sequence[Cycle]
    seconds: Sequence[float]
    trained: int
    validated: int
    start_digest: str
    sizes: Mapping[str, int]
    int8: Mapping[Source, EvaluationReport]
    floating: Mapping[Source, EvaluationReport]
    validation: tuple[EvaluationReport, EvaluationReport]
    note: str = ""


def machine() -> str:
    """The CPU's name and number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.machine()


def render_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    manifest, plan = facts.manifest, facts.cycles[0].plan
    shapes = f"{manifest.input.height}x{manifest.input.width}"
    scores = ", ".join(f"{label} {score:g}" for label, score in manifest.thresholds.score.items())
    note = f"\n{facts.note}" if facts.note else ""
    sizes = ", ".join(f"`{name}` {size / 1e6:.2f} MB" for name, size in facts.sizes.items())
    return f"""\
# Model card: {manifest.name}, release {manifest.release}

Written by `make model`; do not edit. SHA-256 of the int8 file: `{manifest.model.sha256}`.

A small anchor-free detector (YOLOX-nano's topology, ReLU6, no objectness output, 0.9 M parameters) that finds people
and says of each head whether it wears a hard hat. Input {shapes} (height x width) BGR, letterboxed with grey
{manifest.input.pad_value}; classes {", ".join(manifest.labels)}. {sizes}.

## Figures

mAP50: mean of the classes' average precision at IoU 0.5 (all-point interpolation) on pictures labelled for them, one
prediction for one object, per-class NMS at IoU {manifest.thresholds.nms_iou:g}. Precision and recall are taken at the
shipped score thresholds: {scores}.
These were chosen on the validation part of hard_hat_workers (best F1, at most {HIGHEST_SCORE:g}), so its precision and
recall are a little flattered. int8 is the shipped file, run by the agent's own detector; float is the same network as
float16.

{_summary(facts)}

{_classes(facts)}

![Precision over recall of each class on the validation part](images/model-precision-recall.svg)

What it sees in the two clips that come with the agent, frames evenly spread and not chosen:

![Both clips with the model's boxes](images/model-clips.jpg)

## Training

{facts.trained} pictures; {facts.validated} held out as validation part, never trained on. The split goes by
near-duplicate groups (256-bit difference hash, up to 30 bits apart) and a stable hash of each group, so no scene is on
both sides. Data set digest `{manifest.dataset}`.

{_cycles(facts)}

Each cycle begins with the weights of the one before; what ships is the mean of the cycles' weights by their share.
Minutes on {machine()}. AdamW, cosine, in a cycle weights averaged with decay {plan.average_decay:g}. Mosaics of
four and nine pictures (share {plan.mosaic_share:g}, none in a cycle's last part) and whole pictures,
mirrored, recoloured, blurred, coarsely compressed. Task-aligned assignment, binary cross-entropy and generalised IoU;
persons are masked out of the loss where a source does not label them. Heads that only have a point (8 of 100 worn
helmets, 25 of 100 bare heads) count as background in the first cycles; in a cycle that completes heads they get the
first cycle's box where it sees one, and are undecided elsewhere. After training, channels are equalised and weights
rounded to int8 each for the inputs it gets, with pictures of the training part.{note}
Start weights: sha256 `{facts.start_digest}`.

## What was tried

{VARIANTS}

## Data and rights

{ORIGINS}

{RIGHTS}

## Limits

{LIMITS}
"""


def _cycles(facts: CardFacts) -> str:
    heads = ["cycle", f"steps of {facts.cycles[0].plan.batch} pictures", "passes", "peak rate", "zoom", "nine tiles"]
    heads += ["without mosaics", "heads completed", "seed", "minutes", "share"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for cycle, seconds in zip(facts.cycles, facts.seconds, strict=True):
        plan = cycle.plan
        rows.append(
            f"| {cycle.name} | {plan.steps} | {plan.steps * plan.batch / facts.trained:.1f} | {plan.peak_rate:g} "
            f"| {plan.scale_low:g} to {plan.scale_high:g} | {plan.nine_share:g} | last {plan.plain_share:.0%} "
            f"| {'yes' if cycle.completes_heads else 'no'} | {plan.seed} | {seconds / 60:.0f} | {cycle.share:g} |"
        )
    return "\n".join(rows)


def _summary(facts: CardFacts) -> str:
    rows = ["| pictures | number | mAP50 int8 | mAP50 float | mAP50-95 int8 |", "|---|---|---|---|---|"]
    lines = [("hard_hat_workers, whole validation part", *facts.validation)]
    lines += [(TITLES[source], report, facts.floating[source]) for source, report in facts.int8.items()]
    for title, int8, floating in lines:
        figures = f"{int8.map50:.3f} | {floating.map50:.3f} | {int8.map50_95:.3f}"
        rows.append(f"| {title} | {int8.pictures} | {figures} |")
    return "\n".join(rows)


def _classes(facts: CardFacts) -> str:
    rows = [
        "| pictures | class | objects | AP50 int8 | AP50 float | precision | recall | F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    left_out: list[str] = []
    for source, report in facts.int8.items():
        for label, figures in report.per_class.items():
            other = facts.floating[source].per_class.get(label)
            rows.append(_class_row(source, label, figures, other))
        left_out += [f"{source.folder}: {label}: {reason}" for label, reason in report.left_out.items()]
    return "\n".join(rows) + "\n\nLeft out of every mean: " + "; ".join(left_out) + "."


def _class_row(source: Source, label: str, figures: ClassFigures, other: ClassFigures | None) -> str:
    floating = f"{other.ap50:.3f}" if other is not None else "-"
    return (
        f"| {source.folder} | {label} | {figures.objects} | {figures.ap50:.3f} | {floating} "
        f"| {figures.precision:.2f} | {figures.recall:.2f} | {figures.f1:.2f} |"
    )


def render_licence() -> str:
    """The note that lies beside the weights."""
    return f"""\
# Rights in these files

**The weights** were trained by this project's own trainer, starting from YOLOX-nano (Megvii, Apache-2.0), and are
offered under Apache-2.0 as far as this project can say so.

{RIGHTS}

Sources, licences as stated and figures: `docs/model-card.md`. Pictures that lie here: `NOTICE.md`.
"""


def render_notice(golden: Sequence[str]) -> str:
    """The attribution of the golden pictures, by their names."""
    names = ", ".join(f"`{name}`" for name in golden)
    return f"""\
# Golden pictures

{names}: frames of Intel's sample-videos (repository intel-iot-devkit/sample-videos, commit
57978890822836f2b4743852f04f62fc511757e4), CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). Changed: cut out of
the clips and scaled. The boxes in `manifest.json` were drawn for this project.
"""
