# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 - a script that is run on the hub
"""Makes a second model out of the bundled one: another digest, the same network.

Run with the hub's own Python; prints the digest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path


def main(made: Path) -> None:
    """Copies the model, appends to the int8 file what no interpreter reads, and says so in the manifest."""
    shutil.copytree(str(files("helmet_agent") / "assets" / "model"), made, dirs_exist_ok=True)
    (weights,) = Path(str(files("helmet_cloud") / "assets")).rglob("*.npz")
    shutil.copyfile(weights, made / "weights.npz")
    manifest = json.loads((made / "manifest.json").read_text())
    model = made / manifest["model"]["name"]
    content = model.read_bytes() + b"second".ljust(16, b"\0")
    model.write_bytes(content)
    manifest["model"] |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    manifest["name"] = "helmet-second"
    (made / "manifest.json").write_text(json.dumps(manifest))
    sys.stdout.write(manifest["model"]["sha256"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
