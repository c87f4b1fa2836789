# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001, S603 - a script of fixed commands
"""Makes a folder with packages and all that they need, and its index, from wherever this machine's own apt gets them.

usage: flat_repository.py FOLDER PACKAGE...        Debian's own format: Packages beside the files
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

ONLY_NEEDED = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]


def said(*command: str, cwd: Path | None = None) -> str:
    """Standard output of a command."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Downloads and writes the index."""
    folder, wanted = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    found = said("apt-cache", "depends", "--recurse", *ONLY_NEEDED, *wanted)
    said("apt-get", "download", *sorted(set(re.findall(r"^[a-z0-9]\S*", found, re.MULTILINE))), cwd=folder)
    index = ""
    for path in sorted(folder.glob("*.deb")):
        content = path.read_bytes()
        index += said("dpkg-deb", "--field", str(path)).rstrip("\n")
        index += f"\nFilename: ./{path.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n\n"
    (folder / "Packages").write_text(index)


if __name__ == "__main__":
    main()
