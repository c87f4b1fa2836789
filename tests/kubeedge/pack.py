# SPDX-License-Identifier: Apache-2.0
"""Packs edgecore.py as KubeEdge packs edgecore: kubeedge-vX-linux-ARCH.tar.gz with its SHA-512 beside it.

usage: pack.py FOLDER VERSION ARCHITECTURE [FAULT]       prints JSON: path and sha512

Names as in ``.github/workflows/release.yml`` at commit 16cd8548e. FAULT is a line with which
that release does not start.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
MAIN = "import standin.edgecore\n\nstandin.edgecore.main()\n"


def program(version: str, fault: str) -> bytes:
    """A zip application: the stand-in, its version and fault, and PyYAML."""
    sink = io.BytesIO()
    sink.write(b"#!/usr/bin/python3\n")
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", MAIN)
        archive.writestr("standin/__init__.py", "")
        archive.writestr("standin/edgecore.py", (HERE / "edgecore.py").read_text())
        archive.writestr("standin/version", version)
        archive.writestr("standin/fault", fault)
        for path in sorted(Path(yaml.__file__).parent.glob("*.py")):
            archive.writestr(f"yaml/{path.name}", path.read_text())
    return sink.getvalue()


def pack(folder: Path, version: str, architecture: str, fault: str = "") -> dict[str, str]:
    """The tarball's path and SHA-512."""
    name = f"kubeedge-{version}-linux-{architecture}"
    content = program(version, fault)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, data in ((f"{name}/cloud/cloudcore", b"not here"), (f"{name}/edge/edgecore", content)):
            info = tarfile.TarInfo(member)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    digest = hashlib.sha512(path.read_bytes()).hexdigest()
    (folder / f"checksum_{path.name}.txt").write_text(digest)
    return {"path": str(path), "sha512": digest}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(pack(Path(sys.argv[1]), *sys.argv[2:])) + "\n")
