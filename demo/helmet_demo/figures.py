# SPDX-License-Identifier: Apache-2.0
"""What a model is worth on held-back pictures, measured by the hub's own command on the very file that serves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helmet_demo.frames import DATA_FILE, write_pictures
from helmet_demo.new_site import HELD_BACK
from helmet_demo.processes import run

if TYPE_CHECKING:
    from pathlib import Path

    from helmet_demo.new_site import Site
    from helmet_demo.places import Places

EVERY = 3
"""One frame in so many: neighbours show the same."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one model on the held-back pictures.

    Attributes:
        map50: mean over the labels that have objects.
        per_class: label -> {"recall", "precision", "ap50", "objects", ...}.
    """

    map50: float
    per_class: dict[str, dict[str, Any]]

    def of(self, label: str, name: str) -> float:
        """A figure of a label."""
        return float(self.per_class[label][name])


def held_back_data(places: Places) -> str:
    """What ``write_held_back`` wrote, as ``measure`` takes it."""
    return f"sedna:{places.held_back / DATA_FILE}"


def write_held_back(places: Places, site: Site) -> int:
    """Writes the held-back pictures with their labels; returns how many they are.

    Raises:
        SourceMissing: a clip is missing. StorageError: they cannot be written.
    """
    chosen = [(one, frame) for one in site.of(HELD_BACK) for frame in range(one.first, one.last + 1, EVERY)]
    return len(write_pictures(places.held_back, chosen))


def measure(places: Places, model: Path, data: str) -> Figures:
    """Measures a model folder.

    Args:
        places: of the run.
        model: the folder.
        data: ``FORMAT:PATH`` of labelled pictures, as ``helmet-cloud evaluate`` takes it.

    Raises:
        DemoError: it cannot be measured.
    """
    words = run((places.helmet_cloud, "evaluate", "--json", "--model", str(model), "--data", data))
    document = json.loads(next(line for line in reversed(words.splitlines()) if line.startswith("{")))
    return Figures(float(document["map50"]), document["per_class"])
