# SPDX-License-Identifier: Apache-2.0
"""Builds the container image of the agent or of the workers from a checkout.

Wheels come from wherever this machine's pip gets them, by the hashes of the lock; the build itself has no network. The
base image's Python must be the one that ``--python`` names.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


@dataclass(frozen=True)
class Image:
    """An image of this repository.

    Attributes:
        lock: of what it installs.
        projects: whose wheels it takes.
        programs: what its templates' ``args`` name, below ``containers``.
    """

    lock: str
    projects: tuple[str, ...]
    programs: tuple[str, ...]


IMAGES = {
    "agent": Image("agent.txt", ("agent",), ("agent/inference.py",)),
    "worker": Image("hub.txt", ("agent", "cloud"), ("agent/inference.py", "worker/train.py", "worker/eval.py")),
}


def main() -> int:
    """Prints the image's name; exit code 1 with one sentence where it cannot be built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", choices=IMAGES)
    parser.add_argument("--tag", help="name of the image (default: localhost/helmet-IMAGE:latest)")
    parser.add_argument("--base", help="base image (default: the Containerfile's)")
    parser.add_argument("--python", default="3.11", metavar="X.Y", help="the base's Python (default: 3.11)")
    parser.add_argument("--architecture", default=platform.machine(), choices=PLATFORMS)
    parser.add_argument("--engine", default="podman", help="podman or docker (default: podman)")
    parser.add_argument("--context", type=Path, help="leave the context in this folder and build nothing")
    given = parser.parse_args()
    try:
        if given.context is not None:
            fill(given.context, IMAGES[given.image], given.python, given.architecture)
            print(given.context)
            return 0
        with tempfile.TemporaryDirectory(prefix="helmet-image-") as folder:
            fill(Path(folder), IMAGES[given.image], given.python, given.architecture)
            print(build(given, Path(folder)))
    except subprocess.CalledProcessError as error:
        print(f"the image {given.image} cannot be built: {' '.join(map(str, error.cmd[:3]))} failed", file=sys.stderr)
        return 1
    return 0


def fill(context: Path, image: Image, python: str, architecture: str) -> None:
    """Puts wheels and programs into a folder.

    Raises:
        subprocess.CalledProcessError: pip or the builder has said why.
    """
    wheels = context / "wheels"
    maker = [
        sys.executable,
        str(ROOT / "tools/make_wheelhouse.py"),
        "--requirements",
        str(ROOT / "requirements" / image.lock),
    ]
    name = "" if image.lock == "agent.txt" else "workers-"
    kept = ROOT / "artifacts" / "wheelhouse" / f"{name}{python}-{architecture}"
    subprocess.run(
        [*maker, "--python", python, "--architecture", architecture, "--into", str(kept)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.copytree(kept, wheels)
    for project in image.projects:
        made = subprocess.run(
            [sys.executable, str(ROOT / "tools/build_wheel.py"), "--project", project],
            check=True,
            stdout=subprocess.PIPE,
        )
        shutil.copy(json.loads(made.stdout)["wheel"], wheels)
    for program in image.programs:
        shutil.copy(ROOT / "containers" / program, context)


def digest_of(context: Path) -> str:
    """Tells one context from another: sha256 over names and contents."""
    found = hashlib.sha256()
    for path in sorted(one for one in context.rglob("*") if one.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{content}  {path.relative_to(context).as_posix()}\n".encode())
    return found.hexdigest()


def build(given: argparse.Namespace, context: Path) -> str:
    """Builds; returns the image's name."""
    tag = given.tag or f"localhost/helmet-{given.image}:latest"
    file = ROOT / "containers" / given.image / "Containerfile"
    command = [given.engine, "build", "--network=none", "--tag", tag, "--file", str(file)]
    command += ["--build-arg", f"DIGEST={digest_of(context)}"]
    if given.architecture != platform.machine():
        command += ["--platform", PLATFORMS[given.architecture]]
    if given.base:
        command += ["--build-arg", f"BASE={given.base}"]
    environment = os.environ | {"DOCKER_BUILDKIT": "1"}
    subprocess.run([*command, str(context)], check=True, stdout=sys.stderr, env=environment)
    return str(tag)


if __name__ == "__main__":
    raise SystemExit(main())
