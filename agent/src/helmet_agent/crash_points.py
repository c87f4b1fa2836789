# SPDX-License-Identifier: Apache-2.0
"""The places where a crash has to be survived, by name; the tests kill the process at each of them.

Whoever passes one calls ``reach(name)``, which is ``nothing`` outside of a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Reach = Callable[[str], None]

JOURNAL_STEPS = (
    "offered",
    "downloading",
    "verified",
    "installed",
    "probing",
    "interrupted",
    "waiting",
    "live",
    "stopped",
    "confirmed",
    "returned",
    "quarantined",
    "dropped",
    "rolled_back",
    "unquarantined",
    "adopted",
)
"""The lines of the updater's journal."""

JOURNAL = tuple(f"{when} {step}" for step in JOURNAL_STEPS for when in ("before", "after", "pointed"))
"""Before a line is written, after that and before the pointers are moved, and after that."""

MODEL_FILES_COPIED = "model files copied"
MODEL_FILLED = "model folder filled"
MODEL_IN_PLACE = "model folder in place"
MODEL_TAKEN_AWAY = "model folder taken away"
STORE = (MODEL_FILES_COPIED, MODEL_FILLED, MODEL_IN_PLACE, MODEL_TAKEN_AWAY)
"""Where the model store is between two changes of the disk."""

EXAMPLE_WRITTEN = "example files written"
EXAMPLE_COUNTED = "example row committed"
EXAMPLE_SENT = "example marked as uploaded"
EXAMPLES_UNCOUNTED = "example rows dropped"
EXAMPLES_FOUND = "example files found without rows"
SPOOL = (EXAMPLE_WRITTEN, EXAMPLE_COUNTED, EXAMPLE_SENT, EXAMPLES_UNCOUNTED, EXAMPLES_FOUND)
"""Where the spool is between files and rows."""

CRASH_POINTS = (*JOURNAL, *STORE, *SPOOL)


def nothing(_name: str) -> None:
    """What happens at a crash point outside of a test."""
