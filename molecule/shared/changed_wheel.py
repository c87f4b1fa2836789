# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - a script
"""Makes another release out of a wheel: under another version, with more lines at the end of one of its files.

Arguments: WHEEL FOLDER VERSION [FILE LINES]; prints the path of what was made.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path


def main(good: Path, folder: Path, version: str, file: str = "", lines: str = "") -> None:
    """Copies member by member; pip does not compare a wheel's files with its RECORD."""
    name, old, rest = good.name.split("-", 2)
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{name}-{version}-{rest}"
    info = f"{name}-{old}.dist-info/"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(made, "w") as sink:
        for member in source.namelist():
            content = source.read(member)
            if member == file:
                content += f"\n{lines}\n".encode()
            elif member == f"{name}/__init__.py":
                content = content.replace(f'"{old}"'.encode(), f'"{version}"'.encode())
            elif member == f"{info}METADATA":
                content = re.sub(rb"(?m)^Version: .*$", f"Version: {version}".encode(), content, count=1)
            elif member == f"{info}RECORD":
                content = content.replace(info.encode(), f"{name}-{version}.dist-info/".encode())
            sink.writestr(member.replace(info, f"{name}-{version}.dist-info/"), content)
    sys.stdout.write(str(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
