# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - a script
"""Makes a wheel whose hub brings the database forward to a revision that nobody knows and then cannot start."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ADDED = """
import sqlite3

_database = sqlite3.connect("/var/lib/helmet-hub/hub.sqlite")
_database.execute("UPDATE alembic_version SET version_num = 'later'")
_database.commit()
raise SystemExit("this release cannot start")
"""


def main(good: Path, folder: Path) -> None:
    """Copies the wheel with that at the end of what `helmet-cloud serve` loads."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(folder / good.name, "w") as made:
        for name in source.namelist():
            content = source.read(name)
            made.writestr(name, content + ADDED.encode() if name == "helmet_cloud/app.py" else content)
    sys.stdout.write(str(folder / good.name))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
