# SPDX-License-Identifier: Apache-2.0
"""The demo's manifests: the seed's four, unchanged, and the new site's; the seed's two variables are filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DEMO = Path(__file__).resolve().parents[1]
SEED = DEMO / "seed"
NEW_SITE = DEMO / "job.yaml"
JOB, SEED_JOB, DATASET = "new-site", "helmet-detection-demo", "new-site-dataset"
IMAGE = "kubeedge/sedna-example-incremental-learning-helmet-detection:v0.3.1"


def filled(text: str, worker_node: str) -> str:
    """The text with ``$WORKER_NODE`` and ``$IMAGE`` filled in, as the seed's shell does."""
    return text.replace("$WORKER_NODE", worker_node).replace("$IMAGE", IMAGE)


def seed_files() -> list[Path]:
    """The seed's four manifests; the job comes last."""
    return sorted(SEED.glob("*.yaml"))


def differences() -> list[tuple[str, str, str]]:
    """Where the new site's manifests differ from the seed's; see ``compared``."""
    return compared("---\n".join(path.read_text() for path in seed_files()), NEW_SITE.read_text())


def compared(before: str, after: str) -> list[tuple[str, str, str]]:
    """Where manifests differ from others of the same kinds: place, the old value, the new one; "-" for none.

    Values are as they stand in the text, so that 20:00 is shown as 20:00 and not as a YAML 1.1 reader has it.
    """
    found = []
    # BaseLoader makes texts only
    pairs = zip(yaml.load_all(before, yaml.BaseLoader), yaml.load_all(after, yaml.BaseLoader), strict=True)
    for old, new in pairs:
        flat_old, flat_new = flat(old), flat(new)
        for place in [*flat_old, *(one for one in flat_new if one not in flat_old)]:
            values = flat_old.get(place, "-"), flat_new.get(place, "-")
            if values[0] != values[1]:
                found.append((f"{new['kind']} {place}", *values))
    return found


def flat(document: Any, place: str = "") -> dict[str, str]:
    """A document as one value a place; an item of a list is called by its name where it has one."""
    if isinstance(document, dict):
        pairs = document.items()
    elif isinstance(document, list):
        pairs = ((_called(item, number), item) for number, item in enumerate(document))  # type: ignore[assignment]
    else:
        return {place: str(document)}
    found: dict[str, str] = {}
    for name, value in pairs:
        found |= flat(value, f"{place}.{name}" if place else name)
    return found


def _called(item: Any, number: int) -> str:
    named = item.get("name", item.get("key")) if isinstance(item, dict) else None
    return str(number) if named is None else str(named)


def train_share() -> float:
    """The new job's ``trainProb``."""
    job = list(yaml.safe_load_all(NEW_SITE.read_text()))[-1]
    return float(job["spec"]["dataset"]["trainProb"])
