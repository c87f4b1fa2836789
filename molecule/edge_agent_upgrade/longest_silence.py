# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - a script that is run on the node
"""Asks the agent twice a second how it is and writes the longest time in which it was not well, in seconds."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from pathlib import Path


def main(into: Path) -> None:
    """Runs until it is stopped."""
    longest, well = 0.0, time.monotonic()
    while True:
        try:
            with urllib.request.urlopen("http://127.0.0.1:8765/healthz", timeout=2) as answer:
                if json.load(answer)["status"] == "ok":
                    well = time.monotonic()
        except (OSError, ValueError):
            pass
        longest = max(longest, time.monotonic() - well)
        into.write_text(f"{longest:.1f}")
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
