# SPDX-License-Identifier: Apache-2.0
"""Builds a wheel, the agent's or the cloud half's, from a checkout: the same sources and tools make the same bytes.

The sources are copied aside with plain modes first, so that neither the umask of whoever cloned nor the leftovers of an
earlier build get into the wheel, and nothing of this run into the checkout. A wheel lies in a folder named after the
digest of its sources, so it is built once; ``--plan`` only says which one that is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Project:
    """A distribution of this repository.

    Attributes:
        folder: where its pyproject.toml lies.
        distribution: its name as wheels spell it.
        sources: what setup reads, below the folder; tests and notes are no part of a wheel.
    """

    folder: str
    distribution: str
    sources: tuple[str, ...]


PROJECTS = {
    "agent": Project(".", "helmet_agent", ("pyproject.toml", "README.md", "LICENSE", "agent/src/helmet_agent")),
    "cloud": Project("cloud", "helmet_cloud", ("pyproject.toml", "src/helmet_cloud")),
}
# A fixed date rather than the last commit's: the same sources are the same wheel, whatever else was committed.
EPOCH = "315532800"


def main() -> int:
    """Prints one JSON object: wheel (path), version, sha256 (null where it is not built yet), built (by this run)."""
    parser = argparse.ArgumentParser(description=__doc__)
    checkout = Path(__file__).resolve().parent.parent
    parser.add_argument("--source", type=Path, default=checkout, help="the checkout to build from")
    parser.add_argument("--project", choices=PROJECTS, default="agent", help="which half (default: agent)")
    parser.add_argument("--into", type=Path, default=checkout / "artifacts" / "wheels", help="folder that keeps wheels")
    parser.add_argument("--plan", action="store_true", help="build nothing, only say what would be built")
    given = parser.parse_args()
    project = PROJECTS[given.project]
    source = given.source.resolve() / project.folder
    try:
        wheel, version = planned(source, given.into.resolve(), project)
        built = not given.plan and not wheel.exists()
        if built:
            build(source, wheel, project)
    except (OSError, subprocess.CalledProcessError, KeyError, ValueError) as error:
        detail = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
        print(f"the wheel cannot be built from {given.source}: {error}\n{detail}".strip(), file=sys.stderr)
        return 1
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest() if wheel.exists() else None
    print(json.dumps({"wheel": str(wheel), "version": version, "sha256": digest, "built": built}))
    return 0


def planned(source: Path, into: Path, project: Project = PROJECTS["agent"]) -> tuple[Path, str]:
    """Where the wheel of these sources lies or will lie, and its version."""
    version = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    digest = hashlib.sha256()
    for path in _files(source, project):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{content}  {path.relative_to(source).as_posix()}\n".encode())
    return into / digest.hexdigest()[:16] / f"{project.distribution}-{version}-py3-none-any.whl", version


def build(source: Path, wheel: Path, project: Project = PROJECTS["agent"]) -> None:
    """Builds into a folder beside and moves the finished wheel to its place.

    Raises:
        subprocess.CalledProcessError: with the builder's words in ``stderr``.
    """
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as beside:
        copy = Path(beside) / "source"
        for path in _files(source, project):
            target = copy / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o644)
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", beside, str(copy)],
            check=True,
            capture_output=True,
            text=True,
            umask=0o022,  # the modes of what setup itself writes end in the wheel
            env=os.environ | {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", EPOCH)},
        )
        (Path(beside) / wheel.name).replace(wheel)


def _files(source: Path, project: Project) -> list[Path]:
    found = []
    for name in project.sources:
        path = source / name
        found += [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sorted(path for path in found if "__pycache__" not in path.parts)


if __name__ == "__main__":
    raise SystemExit(main())
