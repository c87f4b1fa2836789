#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the hub's regression set and the contact sheets of the demo's new site from the hand-drawn key frames.

    tools/regression_set.py [--only-sheets]

The set goes to cloud/src/helmet_cloud/assets/regression: key frames of the passages that are there for it, scaled to
640 pixels wide. The sheets go to docs/images, so that anybody can judge the labels; they show frames between key
frames where there are any.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "demo"))

from helmet_demo.frames import write_pictures  # noqa: E402 - the demo is no installed package
from helmet_demo.new_site import HELD_BACK, REGRESSION, TRAIN, Passage, read_site  # noqa: E402 - as above
from helmet_demo.sheets import write_sheet  # noqa: E402 - as above

OUT = ROOT / "cloud" / "src" / "helmet_cloud" / "assets" / "regression"
SHEETS = ROOT / "docs" / "images"
WIDTH, QUALITY = 640, 80
EMPTY_FRAMES = 2
CELLS = 16


def chosen(passage: Passage) -> list[tuple[Passage, int]]:
    """The frames of a passage that are in the set: those that were drawn, or two of an empty stretch."""
    if passage.keys:
        return [(passage, key.frame) for key in passage.keys]
    step = (passage.last - passage.first) // EMPTY_FRAMES
    return [(passage, passage.first + step * number) for number in range(EMPTY_FRAMES)]


def for_sheet(passage: Passage) -> list[tuple[Passage, int]]:
    """Frames for a sheet: half of them drawn, half between drawn ones, spread evenly; two where nobody is there."""
    if not passage.keys:
        return chosen(passage)
    drawn = [key.frame for key in passage.keys]
    others = [frame for frame in range(passage.first, passage.last + 1) if frame not in drawn]
    return [(passage, frame) for frame in sorted([*spread(drawn, CELLS // 2), *spread(others, CELLS // 2)])]


def spread(frames: list[int], count: int) -> list[int]:
    """So many of the frames, the first and the last among them."""
    return [frames[round(place * (len(frames) - 1) / (count - 1))] for place in range(count)]


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--only-sheets", action="store_true", help="leave the regression set as it is")
    given = parser.parse_args()
    site = read_site()
    if not given.only_sheets:
        pictures = write_pictures(
            OUT, [one for passage in site.of(REGRESSION) for one in chosen(passage)], width=WIDTH, quality=QUALITY
        )
        print(f"{len(pictures)} pictures in {OUT.relative_to(ROOT)}")
    for use in (TRAIN, HELD_BACK, REGRESSION):
        cells = [one for passage in site.of(use) for one in for_sheet(passage)]
        path = SHEETS / f"new-site-{use}.jpg"
        write_sheet(path, cells)
        print(f"{len(cells)} frames in {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
