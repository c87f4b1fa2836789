# SPDX-License-Identifier: Apache-2.0
"""The figures of ``make prove`` as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prove_job import BATCH

if TYPE_CHECKING:
    from prove_data import ProofData

SITE, OLD = 0.10, 0.015
"""Least rise of mAP50 on the new site, largest loss on an old data set."""

NEW_PARTS = {"held_back": "new site, held back", "unseen": "of these, cameras that were never shown"}
OLD_PARTS = {
    "old_complete": "hard_hat_workers, validation part",
    "old_heads": "hard_hat_workers, heads only, validation part",
    "fixture": "clean_ccby_fixture",
}


def change(found: dict[str, Any], part: str) -> float:
    """By how much mAP50 rose on a part."""
    figures = found["figures"]
    return float(figures["new"][part]["map50"] - figures["base"][part]["map50"])


def missed(found: dict[str, Any]) -> list[str]:
    """What was aimed at and not reached, in words; empty when the proof is made."""
    if not found["outcome"]["passed"]:
        return [f"the round did not pass: {found['outcome']['words']}"]
    aims = {"held_back": SITE} | dict.fromkeys(OLD_PARTS, -OLD)
    titles = NEW_PARTS | OLD_PARTS
    return [
        f"{titles[part]}: {change(found, part):+.4f}, at least {aim:+g} was wanted"
        for part, aim in aims.items()
        if change(found, part) < aim
    ]


def render(found: dict[str, Any], data: ProofData, steps: int) -> str:
    """The page."""
    sizes, seconds, words = data.pictures, found["seconds"], found["words"]
    lines = [
        "# Proof: the whole loop on a new site",
        "",
        "Written by `make prove DATA=DIR PROVE=--write`. Ways to train a round are compared",
        "[elsewhere](prove-direct.md), without a camera and a hub.",
        "",
        "The new site is sfchd_cctv, cameras of a plant that the bundled model never saw. It is split by scene:",
        "a scene is a camera; the one camera with a third of the pictures is cut into time segments, hours apart.",
        f"{data.scenes[0]} scenes ({sizes['train']} pictures) are shown to the node, {data.scenes[1]} are held back",
        f"({sizes['held_back']} pictures, {sizes['unseen']} of them of cameras that the node never saw).",
        "",
        "## What happens",
        "",
        f"1. The pictures of the shown scenes become {found['cameras']} films without loss, and each the camera of one",
        "   scene, which plays over and over, a picture in five seconds.",
        "2. `helmet-agent run` plays them with the bundled model. Its rule is CloudOnly with `duplicate_distance = 0`:",
        "   every frame that does not look exactly like one kept lately. A kept frame is encoded as JPEG (quality 95)",
        "   and goes to a `helmet-cloud serve` made by `init`, over HTTPS, with the token that the node made.",
        f"3. {found['labelled']} of the {found['shown']} pictures arrived. An example's record says its camera and the",
        "   number of its frame; that number modulo the film's length is the picture, whose labels are imported",
        "   with `helmet-cloud labels import`, once, all or nothing.",
        "4. The job (the demo's with other numbers, printed) trains with",
        f"   {found['old_in_batch']} old pictures in a batch of {BATCH}, from {found['old']} that have all",
        "   their labels (a Dataset, `helmet.edge/replay-dataset`);",
        "   pictures labelled for heads only cannot be replayed, since Sedna's text cannot say so. (One run with 10 of",
        "   them: +.098 on the new site, -.006, -.008 and -.028 in the order below.) It makes about",
        f"   {steps} steps, five minutes on two idle cores. Then come evaluation, gate with the guard of",
        "   the shipped regression set, channel, and the hot swap on the node.",
        "5. The int8 file that serves on the node in the end is measured below with `helmet-cloud evaluate`.",
        "",
        "## Figures",
        "",
        "mAP50 (IoU 0.5, all points), of the int8 files.",
        "",
        "| pictures | how many | bundled | after the round | change | aim |",
        "|---|---|---|---|---|---|",
    ]
    for part, title in (NEW_PARTS | OLD_PARTS).items():
        lines.append(f"| {title} | {sizes[part]} | " + _cells(found, part))
    lost = missed(found)
    verdict = f"**Missed**: {'; '.join(lost)}." if lost else "All aims are reached."
    lines += ["", verdict, "", "Average precision by class on the held-back part:", ""]
    lines += ["| class | objects | bundled | after the round |", "|---|---|---|---|"]
    for label, before in found["figures"]["base"]["held_back"]["per_class"].items():
        after = found["figures"].get("new", {}).get("held_back", {}).get("per_class", {}).get(label, {}).get("ap50")
        lines.append(f"| {label} | {before['objects']} | {_number(before.get('ap50'))} | {_number(after)} |")
    lines += ["", "| stage | seconds | what it said |", "|---|---|---|"]
    lines += [f"| {name} | {seconds[name]} | {words[name]} |" for name in seconds]
    lines += [
        "",
        f"The whole proof took {found['whole']} seconds of the clock, films and evaluation included; a machine that",
        "does other things meanwhile needs a multiple of an idle one.",
    ]
    return "\n".join([*lines, ""])


def _cells(found: dict[str, Any], part: str) -> str:
    before = found["figures"]["base"][part]["map50"]
    aim = {"held_back": f"at least +{SITE:.2f}", "unseen": ""}.get(part, f"at most -{OLD:g}")
    if "new" not in found["figures"]:
        return f"{before:.3f} | - | - | {aim} |"
    return f"{before:.3f} | {found['figures']['new'][part]['map50']:.3f} | {change(found, part):+.3f} | {aim} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
