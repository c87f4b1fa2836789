# SPDX-License-Identifier: Apache-2.0
"""Which pictures of a round's data file are neighbours: ``groups.json`` beside it, where the hub knows.

Pictures that came as examples are named by their digest, which tells nothing of who stood beside whom. The hub knows
their camera and time, and writes for each picture the group that split training from evaluation.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from helmet_cloud.core.split import group_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

GROUPS = "groups.json"


def groups_text(groups: Mapping[str, str]) -> str:
    """The file's content.

    Args:
        groups: by the name of the picture in the folder ``images`` beside the file.
    """
    return json.dumps(groups, indent=0, sort_keys=True) + "\n"


def groups_of(pictures: Iterable[Path]) -> list[str]:
    """The group of each picture: as the hub says, else as the name says that its link points to."""
    known: dict[Path, dict[str, str]] = {}
    found = []
    for picture in pictures:
        folder = picture.parent.parent
        if folder not in known:
            known[folder] = _read(folder / GROUPS)
        group = known[folder].get(picture.name)
        found.append(group_of(picture.resolve().name, None) if group is None else group)
    return found


def _read(file: Path) -> dict[str, str]:
    # whatever else somebody calls so beside pictures of his own is none of ours
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(group) for name, group in document.items()} if isinstance(document, dict) else {}
